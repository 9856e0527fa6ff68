#include "rubato/rpc/logged_event.h"

#include <utility>

#include "rubato/base/archive.h"

namespace rubato {
namespace {

// The alternative of that place, or none.
template <size_t... I>
bool choose(size_t index, Event& event, std::index_sequence<I...>) {
  return ((index == I && (event.emplace<I>(), true)) || ...);
}

}  // namespace

std::string to_bytes(const LoggedEvent& record) {
  LoggedEvent copy = record;
  ArchiveWriter writer;
  auto kind = static_cast<uint8_t>(copy.event.index());
  writer(copy.now, kind);
  std::visit([&](auto& event) { writer(event); }, copy.event);
  if (std::holds_alternative<UpdateArrived>(copy.event)) {
    writer(copy.notes);
    copy.notes.archive_agreed(writer);
  }
  return std::move(writer.bytes);
}

StatusOr<LoggedEvent> logged_event_from(std::string_view bytes) {
  LoggedEvent record;
  ArchiveReader reader(bytes);
  uint8_t kind = 0;
  reader(record.now, kind);
  if (!choose(kind, record.event, std::make_index_sequence<std::variant_size_v<Event>>())) {
    return absl::DataLossError(cat("[journal] got an event of kind ", int{kind}, ", want one of ",
                                   std::variant_size_v<Event>, " known ones"));
  }
  std::visit([&](auto& event) { reader(event); }, record.event);
  if (std::holds_alternative<UpdateArrived>(record.event)) {
    reader(record.notes);
    const bool is_older = reader.finish().ok();  // nothing is left
    if (!is_older) record.notes.archive_agreed(reader);
  }
  RUBATO_RETURN_IF_ERROR(annotate(reader.finish(), "journal record"));
  return record;
}

}  // namespace rubato
