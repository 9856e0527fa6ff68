// Which document goes where: a pure function of the seed, the document's number and what came
// before.
#pragma once

#include <cstdint>
#include <vector>

namespace rubato {

/// Validation: one document, drawn by (seed, block), out of every block of 1/fraction documents in
/// a row, so that every part of the text is represented.
class ValidationSplit {
 public:
  /// 0 <= fraction <= 0.5. With 2 documents or more and a fraction above 0, at least one document
  /// is validation and at least one is not.
  ValidationSplit(uint64_t seed, double fraction, int64_t documents);
  bool is_validation(int64_t document) const;

 private:
  uint64_t seed_;
  int64_t block_ = 0;  // [documents] 0: no validation
};

/// Deals documents to shards: drawn by (seed, document) among the shards whose text is at most one
/// mean document above the smallest, so that shards end about equal.
class ShardDealer {
 public:
  ShardDealer(uint64_t seed, int64_t shards, int64_t mean_document_bytes);
  /// The shard of this document. Called once a document, in order.
  int64_t deal(int64_t document, int64_t text_bytes);

 private:
  uint64_t seed_;
  int64_t slack_;
  std::vector<int64_t> bytes_;
};

}  // namespace rubato
