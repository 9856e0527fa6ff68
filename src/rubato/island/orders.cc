#include "rubato/island/orders.h"

namespace rubato {
namespace {

struct AnswerHeader {
  absl::StatusCode code;
  int64_t bytes;  // of the message behind it
};

}  // namespace

void send_answer(IslandLink& link, const Status& status) {
  const std::string_view message(status.message().data(), status.message().size());
  const AnswerHeader header{status.code(), std::ssize(message)};
  link.send(0, std::as_bytes(std::span(&header, 1)));
  if (!message.empty()) link.send(0, std::as_bytes(std::span(message)));
}

Status gather_answers(IslandLink& link, const Status& own) {
  Status first = own;
  for (int rank = 1; rank < link.size(); ++rank) {
    AnswerHeader header{};
    link.receive(rank, std::as_writable_bytes(std::span(&header, 1)));
    std::string message(static_cast<size_t>(header.bytes), '\0');
    if (!message.empty()) link.receive(rank, std::as_writable_bytes(std::span(message)));
    if (first.ok() && header.code != absl::StatusCode::kOk)
      first = annotate(Status(header.code, message), cat("rank ", rank, " of the island"));
  }
  return first;
}

}  // namespace rubato
