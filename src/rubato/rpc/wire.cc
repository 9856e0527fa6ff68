#include "rubato/rpc/wire.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "rubato/base/digest.h"
#include "rubato/base/one_line.h"

namespace rubato {
namespace {

// More local steps than any run makes; sums of two still fit.
constexpr int64_t kMostSteps = int64_t{1} << 60;

Status bad_task(int64_t id, std::string_view what, int64_t got, std::string_view want) {
  return absl::InvalidArgumentError(cat("[task] ", id, ": got ", what, " ", got, ", want ", want));
}

v1::Tensor::Role to_proto(TensorRole role) {
  switch (role) {
    case TensorRole::kMatrix:
      return v1::Tensor::ROLE_MATRIX;
    case TensorRole::kEmbedding:
      return v1::Tensor::ROLE_EMBEDDING;
    case TensorRole::kNorm:
      return v1::Tensor::ROLE_NORM;
    case TensorRole::kBias:
      return v1::Tensor::ROLE_BIAS;
  }
  return v1::Tensor::ROLE_UNSPECIFIED;
}

}  // namespace

StatusOr<int> common_protocol(const v1::ProtocolRange& peer) {
  const int common = std::min<int>(peer.last(), kProtocolLast);
  if (peer.first() <= peer.last() && common >= peer.first() && common >= kProtocolFirst)
    return common;
  return absl::FailedPreconditionError(cat("[protocol] got versions ", peer.first(), " to ",
                                           peer.last(), ", want one of ", kProtocolFirst, " to ",
                                           kProtocolLast, "; bring both sides to one release"));
}

// ---- tasks

v1::Task to_proto(const Task& task, int64_t num_params) {
  v1::Task message;
  message.set_id(task.id.value());
  message.set_kind(v1::Task::KIND_TRAIN);
  v1::Fragment& fragment = *message.add_fragments();
  fragment.set_count(num_params);
  fragment.set_base_version(task.base.value());
  message.set_merge(v1::Task::MERGE_REPLACE);
  message.set_shard(task.shard.value());
  for (const DataRange& range : task.ranges) {
    v1::DataRange& out = *message.add_ranges();
    out.set_epoch(range.epoch);
    out.set_first(range.first);
    out.set_count(range.count);
  }
  message.set_steps(task.steps);
  message.set_lr_first(task.lr_first);
  message.set_lr_total(task.lr_total);
  if (task.rewarm_first >= 0) message.set_rewarm_first(task.rewarm_first);
  return message;
}

StatusOr<Task> task_from_proto(const v1::Task& message, WorkerId worker, const TaskBounds& bounds) {
  const int64_t id = message.id();
  if (id < 0) return bad_task(id, "the id", id, "at least 0");
  if (message.kind() != v1::Task::KIND_TRAIN)
    return bad_task(id, "kind", message.kind(), "1: train; bring both sides to one release");
  if (message.merge() != v1::Task::MERGE_REPLACE)
    return bad_task(id, "merge", message.merge(), "1: replace; bring both sides to one release");
  if (message.fragments_size() != 1)
    return bad_task(id, "fragments", message.fragments_size(), "1");
  const v1::Fragment& fragment = message.fragments(0);
  if (fragment.first() != 0 || fragment.count() != bounds.num_params)
    return bad_task(id, "a fragment of", fragment.count(), cat(bounds.num_params, " floats"));
  if (fragment.base_version() < 0)
    return bad_task(id, "base version", fragment.base_version(), "at least 0");
  const std::vector<int64_t>& shards = bounds.shard_sequences;
  if (message.shard() < 0 || message.shard() >= std::ssize(shards))
    return bad_task(id, "shard", message.shard(), cat("one of ", shards.size()));
  if (message.steps() < 1) return bad_task(id, "steps", message.steps(), "at least 1");
  if (message.lr_first() < 0 || message.lr_first() > kMostSteps || message.lr_total() < 1)
    return bad_task(id, "a rate's position", message.lr_first(), "0 or more of 1 or more");
  if (message.rewarm_first() > kMostSteps)
    return bad_task(id, "a ramp behind step", message.rewarm_first(), "one that can be");
  Task task;
  const int64_t size = shards[static_cast<size_t>(message.shard())];
  int64_t sequences = 0;
  for (const v1::DataRange& range : message.ranges()) {
    if (range.epoch() < 0 || range.first() < 0 || range.count() < 1)
      return bad_task(id, "a range of", range.count(), "1 or more sequences at 0 or more");
    if (range.count() > size || range.first() > size - range.count())
      return bad_task(id, "a range that begins at", range.first(),
                      cat("one within the shard's ", size, " sequences"));
    if (__builtin_add_overflow(sequences, range.count(), &sequences))
      return bad_task(id, "a range of", range.count(), "one that can be");
    task.ranges.push_back({range.epoch(), range.first(), range.count(), 0});
  }
  if (sequences % bounds.batch_sequences != 0 ||
      sequences / bounds.batch_sequences != message.steps()) {
    return bad_task(id, "data of sequences", sequences,
                    cat(message.steps(), " steps of ", bounds.batch_sequences));
  }
  task.id = TaskId(id);
  task.worker = worker;
  task.base = Version(fragment.base_version());
  task.shard = ShardId(message.shard());
  task.steps = message.steps();
  task.lr_first = message.lr_first();
  task.lr_total = message.lr_total();
  task.rewarm_first =
      message.has_rewarm_first() ? std::max<int64_t>(message.rewarm_first(), 0) : -1;
  return task;
}

// ---- layout

v1::Layout to_proto(const Layout& layout) {
  v1::Layout message;
  for (const TensorSpec& tensor : layout.tensors()) {
    v1::Tensor& out = *message.add_tensors();
    out.set_name(tensor.name);
    for (const int64_t size : tensor.shape) out.add_shape(size);
    out.set_dtype(v1::Tensor::DTYPE_F32);
    out.set_role(to_proto(tensor.role));
  }
  message.set_digest(layout_digest(layout));
  return message;
}

std::string layout_digest(const Layout& layout) {
  return digest_of(std::string_view(layout.describe()));
}

// ---- verdicts

v1::RejectReason to_proto(RejectReason reason) {
  switch (reason) {
    case RejectReason::kUnknownTask:
      return v1::REJECT_REASON_UNKNOWN_TASK;
    case RejectReason::kWrongWorker:
      return v1::REJECT_REASON_WRONG_WORKER;
    case RejectReason::kBadClaim:
      return v1::REJECT_REASON_BAD_CLAIM;
    case RejectReason::kNotFinite:
      return v1::REJECT_REASON_NOT_FINITE;
    case RejectReason::kNormTooLarge:
      return v1::REJECT_REASON_NORM_TOO_LARGE;
    case RejectReason::kSuperseded:
      return v1::REJECT_REASON_SUPERSEDED;
    case RejectReason::kFinished:
      return v1::REJECT_REASON_FINISHED;
    case RejectReason::kEmpty:
      return v1::REJECT_REASON_EMPTY;
  }
  return v1::REJECT_REASON_UNSPECIFIED;
}

v1::PushReply to_proto(const UpdateVerdict& verdict) {
  v1::PushReply reply;
  switch (verdict.kind) {
    case UpdateVerdict::Kind::kApplied:
      reply.set_verdict(v1::PushReply::VERDICT_APPLIED);
      break;
    case UpdateVerdict::Kind::kDiscarded:
      reply.set_verdict(v1::PushReply::VERDICT_DISCARDED);
      break;
    case UpdateVerdict::Kind::kRejected:
      reply.set_verdict(v1::PushReply::VERDICT_REJECTED);
      reply.set_reason(to_proto(verdict.reason));
      reply.set_text(std::string(to_string(verdict.reason)));
      break;
  }
  return reply;
}

StatusOr<UpdateVerdict> verdict_from_proto(const v1::PushReply& reply) {
  switch (reply.verdict()) {
    case v1::PushReply::VERDICT_APPLIED:
      return UpdateVerdict{};
    case v1::PushReply::VERDICT_DISCARDED:
      return UpdateVerdict{UpdateVerdict::Kind::kDiscarded, {}};
    case v1::PushReply::VERDICT_REJECTED: {
      // Places of the two enumerations differ by the protocol's "unspecified".
      const int reason = static_cast<int>(reply.reason()) - 1;
      if (reason < 0 || reason > static_cast<int>(RejectReason::kEmpty)) break;
      return UpdateVerdict{UpdateVerdict::Kind::kRejected, static_cast<RejectReason>(reason)};
    }
    default:
      break;
  }
  return absl::InvalidArgumentError(cat("[exchange] got a verdict of kind ",
                                        static_cast<int>(reply.verdict()),
                                        ", want a known one; bring both sides to one release"));
}

// ---- codecs

namespace {

// Numbers as the codec declared them: whole ones or any.
StatusOr<std::shared_ptr<const Codec>> make_codec_of(const std::string& name,
                                                     const std::map<std::string, double>& numbers) {
  RUBATO_RETURN_IF_ERROR(check_text("codec", "name", name));
  RUBATO_ASSIGN_OR_RETURN(const CodecEntry* entry,
                          find_entry<CodecEntry>("codec", "codec", codec_entries(), name));
  std::map<std::string, OptionValue> given;
  for (const auto& [option, number] : numbers) {
    RUBATO_RETURN_IF_ERROR(check_text("codec", "option", option));
    const auto spec = std::ranges::find(entry->options, option, &OptionSpec::name);
    const bool is_integer = spec != entry->options.end() && spec->kind == OptionKind::kInteger &&
                            std::abs(number) < 1e15 && number == std::floor(number);
    given[option] = is_integer ? OptionValue(static_cast<int64_t>(number)) : OptionValue(number);
  }
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<const Codec> codec, make_codec(name, given));
  return std::shared_ptr<const Codec>(std::move(codec));
}

}  // namespace

StatusOr<std::shared_ptr<const Codec>> codec_from_proto(const v1::Codec& message) {
  return make_codec_of(message.name(), {message.options().begin(), message.options().end()});
}

std::string codec_options_text(const v1::Codec& message) {
  const std::map<std::string, double> sorted(message.options().begin(), message.options().end());
  std::string text;
  for (const auto& [name, number] : sorted) text += cat(name, " = ", to_text(number), "\n");
  return text;
}

StatusOr<std::shared_ptr<const Codec>> codec_from_text(const std::string& name,
                                                       const std::string& options) {
  std::map<std::string, double> numbers;
  std::string_view rest = options;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const size_t equals = line.find(" = ");
    double number = 0;
    const char* end = line.data() + line.size();
    const bool has_number =
        equals != std::string_view::npos &&
        std::from_chars(line.data() + equals + 3, end, number) == std::from_chars_result{end, {}};
    if (!has_number)
      return absl::DataLossError(
          cat("[codec] got options \"", one_line(options), "\", want NAME = NUMBER"));
    numbers[std::string(line.substr(0, equals))] = number;
  }
  return make_codec_of(name, numbers);
}

// ---- checks

namespace {

// Parts of letters, digits and `._-`, none of them only dots.
bool is_inside(const std::string& name) {
  const auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  };
  std::string_view rest = name;
  for (;;) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    if (!std::ranges::all_of(part, is_plain)) return false;
    if (part.find_first_not_of('.') == std::string_view::npos) return false;
    if (part.size() == rest.size()) return true;
    rest.remove_prefix(part.size() + 1);
  }
}

}  // namespace

Status check_description(const v1::RunDescription& run) {
  const auto wrong = [](std::string_view what, std::string_view got, std::string_view want) {
    return absl::InvalidArgumentError(cat("[description] ", what, ": got ", got, ", want ", want));
  };
  constexpr Nanos kShortest = kNanosPerSecond / 1000;
  if (run.heartbeat_interval_ns() < kShortest || run.lease_ns() < run.heartbeat_interval_ns()) {
    return wrong("heartbeat_interval_ns", cat(run.heartbeat_interval_ns()),
                 cat(kShortest, " to lease_ns, here ", run.lease_ns()));
  }
  if (run.files_size() > 0)
    RUBATO_RETURN_IF_ERROR(check_digest("description", "data_digest", run.data_digest()));
  for (const v1::RunFile& file : run.files()) {
    RUBATO_RETURN_IF_ERROR(check_text("description", "file", file.name()));
    if (!is_inside(file.name()))
      return wrong("file", file.name(), "a relative path of plain names, without ..");
    if (file.bytes() < 0) return wrong(file.name(), cat(file.bytes()), "0 bytes or more");
    RUBATO_RETURN_IF_ERROR(check_digest("description", file.name(), file.digest()));
  }
  return absl::OkStatus();
}

Status check_text(std::string_view who, std::string_view name, const std::string& text) {
  const bool printable =
      std::ranges::all_of(text, [](char c) { return c >= ' ' && static_cast<uint8_t>(c) < 127; });
  if (text.size() <= kLongestText && printable) return absl::OkStatus();
  return absl::InvalidArgumentError(cat("[", who, "] ", name, ": got ", text.size(),
                                        " bytes, want at most ", kLongestText,
                                        " of printable ASCII"));
}

Status check_digest(std::string_view who, std::string_view name, const std::string& text) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.size() == 32 && std::ranges::all_of(text, is_hex)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      cat("[", who, "] ", name, ": got ", text.size(), " bytes, want 32 hexadecimal digits"));
}

}  // namespace rubato
