// librubato_sentencepiece.so: the interface over libsentencepiece 0.1.97, and the only place that
// sees it. Nothing of ours that includes Abseil may be included here. Exceptions end here.
#include <exception>
#include <unordered_map>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "rubato/text/sentencepiece_library.h"

namespace rubato {

namespace {

/// Hands the sentences to the trainer one by one.
class VectorIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit VectorIterator(const std::vector<std::string>& sentences) : sentences_(sentences) {}
  bool done() const override { return next_ >= sentences_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return sentences_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& sentences_;
  size_t next_ = 0;
};

/// The library's messages span lines and quote pieces as they are; ours are one line.
std::string one_line(std::string message) {
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < 0x20) c = c == '\n' ? ' ' : '?';
  }
  return message;
}

class ReadModel final : public SentencepieceModel {
 public:
  /// Of a processor that has read a model.
  explicit ReadModel(std::unique_ptr<sentencepiece::SentencePieceProcessor> processor)
      : processor_(std::move(processor)) {
    for (int id = 0; id < processor_->GetPieceSize(); ++id) {
      Kind kind = Kind::kNormal;
      if (processor_->IsUnknown(id)) kind = Kind::kUnknown;
      if (processor_->IsControl(id)) kind = Kind::kControl;
      if (processor_->IsByte(id)) kind = Kind::kByte;
      if (processor_->IsUnused(id)) kind = Kind::kUnused;
      pieces_.push_back({processor_->IdToPiece(id), kind, processor_->GetScore(id)});
    }
  }

  const std::vector<Piece>& pieces() const override { return pieces_; }

  bool encode(std::string_view text, std::vector<int>& ids, std::string& error) const override try {
    const auto status = processor_->Encode(text, &ids);
    if (!status.ok()) error = one_line(status.ToString());
    return status.ok();
  } catch (const std::exception& e) {
    error = one_line(e.what());
    return false;
  }

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<Piece> pieces_;
};

class Library final : public SentencepieceLibrary {
 public:
  std::unique_ptr<SentencepieceModel> load(std::string_view serialised,
                                           std::string& error) const override try {
    auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
    const auto status = processor->LoadFromSerializedProto(serialised);
    if (status.ok()) return std::make_unique<ReadModel>(std::move(processor));
    error = one_line(status.ToString());
    return nullptr;
  } catch (const std::exception& e) {
    error = one_line(e.what());
    return nullptr;
  }

  std::string train(const std::vector<std::pair<std::string, std::string>>& flags,
                    const std::vector<std::string>& sentences, std::string& error) const override
      try {
    // Above every level the library logs at: it would write to stderr otherwise.
    std::unordered_map<std::string, std::string> arguments{{"minloglevel", "4"}};
    for (const auto& [name, value] : flags) arguments[name] = value;
    VectorIterator iterator(sentences);
    std::string serialised;
    const auto status =
        sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &serialised);
    if (status.ok()) return serialised;
    error = one_line(status.ToString());
    return "";
  } catch (const std::exception& e) {
    error = one_line(e.what());
    return "";
  }
};

}  // namespace

/// kSentencepieceFactoryName.
extern "C" [[gnu::visibility("default")]] const SentencepieceLibrary*
rubato_sentencepiece_library() {
  static const Library library;
  return &library;
}

}  // namespace rubato
