// Over libsentencepiece 0.1.97. Nothing of ours that includes Abseil may be included here.
#include "rubato/text/sentencepiece_adapter.h"

#include <exception>
#include <unordered_map>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

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

}  // namespace

struct SentencepieceModel::State {
  sentencepiece::SentencePieceProcessor processor;
};

SentencepieceModel::SentencepieceModel(std::unique_ptr<State> state) : state_(std::move(state)) {
  const auto& processor = state_->processor;
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    Kind kind = Kind::kNormal;
    if (processor.IsUnknown(id)) kind = Kind::kUnknown;
    if (processor.IsControl(id)) kind = Kind::kControl;
    if (processor.IsByte(id)) kind = Kind::kByte;
    if (processor.IsUnused(id)) kind = Kind::kUnused;
    pieces_.push_back({processor.IdToPiece(id), kind});
  }
}

SentencepieceModel::~SentencepieceModel() = default;

std::unique_ptr<SentencepieceModel> SentencepieceModel::load(std::string_view serialised,
                                                             std::string& error) try {
  auto state = std::make_unique<State>();
  const auto status = state->processor.LoadFromSerializedProto(serialised);
  if (!status.ok()) {
    error = one_line(status.ToString());
    return nullptr;
  }
  return std::unique_ptr<SentencepieceModel>(new SentencepieceModel(std::move(state)));
} catch (const std::exception& e) {
  error = one_line(e.what());
  return nullptr;
}

bool SentencepieceModel::encode(std::string_view text, std::vector<int>& ids,
                                std::string& error) const try {
  const auto status = state_->processor.Encode(text, &ids);
  if (!status.ok()) error = one_line(status.ToString());
  return status.ok();
} catch (const std::exception& e) {
  error = one_line(e.what());
  return false;
}

std::string train_sentencepiece(const std::vector<std::pair<std::string, std::string>>& flags,
                                const std::vector<std::string>& sentences, std::string& error) try {
  // Above every level the library logs at: it would write to stderr otherwise.
  std::unordered_map<std::string, std::string> arguments{{"minloglevel", "4"}};
  for (const auto& [name, value] : flags) arguments[name] = value;
  VectorIterator iterator(sentences);
  std::string serialised;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &serialised);
  if (status.ok()) return serialised;
  error = one_line(status.ToString());
  return "";
} catch (const std::exception& e) {
  error = one_line(e.what());
  return "";
}

}  // namespace rubato
