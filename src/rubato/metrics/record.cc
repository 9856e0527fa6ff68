// Each record has one walk over its fields; writing and reading are two visitors of it, so a key
// cannot be written under one name and read under another.
#include "rubato/metrics/record.h"

#include <array>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "rubato/base/one_line.h"
#include "rubato/metrics/record_visitors.h"

namespace rubato {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::string_view, 2> kPhaseWords = {"pretrain", "train"};
constexpr std::array<std::string_view, 5> kSpanWords = {"train", "wait", "lost", "receive", "send"};

template <class Visitor, class Record>
void walk_eval(Visitor& v, Record& r) {
  v.word("phase", r.phase, kPhaseWords);
  v.field("method", r.method);
  v.field("local_steps", r.local_steps);
  v.field("tokens", r.tokens);
  v.field("server_updates", r.server_updates);
  v.field("version", r.version);
  v.field("virtual_time_ns", r.virtual_time_ns);
  v.field("wall_time_ns", r.wall_time_ns);
  v.field("loss_nats", r.loss_nats);
  v.derived("perplexity", r.perplexity());
  v.field("bits_per_byte", r.bits_per_byte);
  v.field("accuracy", r.accuracy);
}

template <class Visitor, class Record>
void walk_update(Visitor& v, Record& r) {
  v.field("virtual_time_ns", r.virtual_time_ns);
  v.small("worker", r.worker);
  v.later_field("workers", r.workers);
  v.field("task", r.task);
  v.field("shard", r.shard);
  v.field("steps", r.steps);
  v.field("tokens", r.tokens);
  v.field("train_loss_nats", r.train_loss_nats);
  v.field("lr", r.lr);
  v.small("staleness", r.staleness);
  v.field("version", r.version);
  v.field("delta_norm", r.delta_norm);
  v.later_field("momentum_cosine", r.momentum_cosine);
  v.later_field("momentum_norm", r.momentum_norm);
  v.later_field("step_norm", r.step_norm);
  v.later_field("aligned_gain", r.aligned_gain);
  v.later_field("bytes_down", r.bytes_down);
  v.later_field("bytes_up", r.bytes_up);
  v.field("verdict", r.verdict);
}

template <class Visitor, class Record>
void walk_span(Visitor& v, Record& r) {
  v.small("worker", r.worker);
  v.field("task", r.task);
  v.field("shard", r.shard);
  v.field("begin_ns", r.begin_ns);
  v.field("end_ns", r.end_ns);
  v.word("activity", r.kind, kSpanWords);
}

template <class Visitor, class Record>
void walk_event(Visitor& v, Record& r) {
  v.field("virtual_time_ns", r.virtual_time_ns);
  v.field("text", r.text);
}

template <class Visitor, class Record>
void walk_summary(Visitor& v, Record& r) {
  v.field("schema_version", r.schema_version);
  v.field("build_id", r.build_id);
  v.field("data_digest", r.data_digest);
  v.field("recipe_digest", r.recipe_digest);
  v.field("method", r.method);
  v.field("seed", r.seed);
  v.field("finished", r.finished);
  v.later_field("failure", r.failure);
  v.field("workers", r.workers);
  v.field("local_steps", r.local_steps);
  v.field("tokens", r.tokens);
  v.field("server_updates", r.server_updates);
  v.field("arrivals", r.arrivals);
  v.field("discarded", r.discarded);
  v.field("rejected", r.rejected);
  v.later_field("bytes_down", r.bytes_down);
  v.later_field("bytes_up", r.bytes_up);
  v.field("val_loss_nats", r.val_loss_nats);
  v.derived("val_perplexity", r.val_perplexity());
  v.field("val_bits_per_byte", r.val_bits_per_byte);
  v.field("val_accuracy", r.val_accuracy);
  v.field("final_train_loss_nats", r.final_train_loss_nats);
  v.field("virtual_time_s", r.virtual_time_s);
  v.field("wall_time_s", r.wall_time_s);
  v.field("train_tokens_per_s", r.train_tokens_per_s);
  v.field("staleness_mean", r.staleness_mean);
  v.field("staleness_max", r.staleness_max);
  v.later_field("staleness_counts", r.staleness_counts);
  v.field("time_to_sync_loss_s", r.time_to_sync_loss_s);
  v.field("utilisation", r.utilisation);
  v.later_field("delta_norm_mean", r.delta_norm_mean);
  v.later_field("step_norm_mean", r.step_norm_mean);
  v.later_field("momentum_cosine_mean", r.momentum_cosine_mean);
  v.later_field("aligned_gain_mean", r.aligned_gain_mean);
  v.field("params_digest", r.params_digest);
  v.column("worker_updates", r.per_worker, &WorkerTotals::updates);
  v.column("worker_steps", r.per_worker, &WorkerTotals::steps);
  v.column("worker_tokens", r.per_worker, &WorkerTotals::tokens);
  v.column("worker_train_s", r.per_worker, &WorkerTotals::train_s);
  v.column("worker_wait_s", r.per_worker, &WorkerTotals::wait_s);
}

ordered_json with_kind(const char* kind) {
  ordered_json out;
  out["kind"] = kind;
  return out;
}

/// Text that is not UTF-8 (an event may quote a file name) is written with replacement characters.
std::string dump(const ordered_json& object) {
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

Status read_line(std::string_view line, RecordLog& log) {
  const ordered_json object = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("got no JSON object");
  RecordReader reader(object);
  std::string kind;
  reader.field("kind", kind);
  const auto read_into = [&](auto& records, auto walk) {
    typename std::decay_t<decltype(records)>::value_type record;
    walk(record);
    if (reader.status().ok()) records.push_back(std::move(record));
  };
  if (kind == "eval") {
    read_into(log.evals, [&](EvalRecord& r) { walk_eval(reader, r); });
  } else if (kind == "update") {
    read_into(log.updates, [&](UpdateRecord& r) { walk_update(reader, r); });
  } else if (kind == "span") {
    read_into(log.spans, [&](TaskSpan& r) { walk_span(reader, r); });
  } else if (kind == "event") {
    read_into(log.events, [&](EventRecord& r) { walk_event(reader, r); });
  } else if (reader.status().ok()) {
    return absl::InvalidArgumentError(
        cat("kind: got \"", one_line(kind), "\", want one of eval, update, span, event"));
  }
  return reader.status();
}

}  // namespace

double EvalRecord::perplexity() const { return std::exp(loss_nats); }

bool UpdateRecord::has_verdict(std::string_view word) const {
  return std::string_view(verdict).substr(0, verdict.find(':')) == word;
}

double WorkerTotals::wait_share() const {
  const double all = train_s + wait_s;
  return all > 0 ? wait_s / all : 0;
}

double RunSummary::val_perplexity() const { return std::exp(val_loss_nats); }

ordered_json to_json(const EvalRecord& record) {
  ordered_json out = with_kind("eval");
  RecordWriter writer(out);
  walk_eval(writer, record);
  return out;
}

ordered_json to_json(const UpdateRecord& record) {
  ordered_json out = with_kind("update");
  RecordWriter writer(out);
  walk_update(writer, record);
  return out;
}

ordered_json to_json(const TaskSpan& record) {
  ordered_json out = with_kind("span");
  RecordWriter writer(out);
  walk_span(writer, record);
  return out;
}

ordered_json to_json(const EventRecord& record) {
  ordered_json out = with_kind("event");
  RecordWriter writer(out);
  walk_event(writer, record);
  return out;
}

ordered_json to_json(const RunSummary& summary) {
  ordered_json out;
  RecordWriter writer(out);
  walk_summary(writer, summary);
  ordered_json wait_shares = ordered_json::array();
  for (const WorkerTotals& worker : summary.per_worker) wait_shares.push_back(worker.wait_share());
  out["worker_wait_share"] = std::move(wait_shares);
  return out;
}

std::string to_line(const EvalRecord& record) { return dump(to_json(record)); }
std::string to_line(const UpdateRecord& record) { return dump(to_json(record)); }
std::string to_line(const TaskSpan& record) { return dump(to_json(record)); }
std::string to_line(const EventRecord& record) { return dump(to_json(record)); }
std::string to_line(const RunSummary& summary) { return dump(to_json(summary)); }

StatusOr<RunSummary> summary_from_json(std::string_view text) {
  const ordered_json object = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("[summary] got no JSON object");
  RecordReader reader(object);
  RunSummary summary;
  walk_summary(reader, summary);
  if (summary.schema_version > kSummarySchemaVersion) {
    return absl::InvalidArgumentError(cat("[summary] schema_version: got ", summary.schema_version,
                                          ", want at most ", kSummarySchemaVersion,
                                          "; a newer rubato wrote this run"));
  }
  RUBATO_RETURN_IF_ERROR(annotate(reader.status(), "[summary]"));
  return summary;
}

Status read_records(std::string_view who, std::string_view text, RecordLog& log) {
  int64_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = text.find('\n');
    const bool last_and_open = end == std::string_view::npos;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(last_and_open ? text.size() : end + 1);
    const Status status = read_line(line, log);
    if (!status.ok() && !last_and_open) {
      return annotate(status, cat("[", who, "] line ", line_number));
    }
  }
  return {};
}

}  // namespace rubato
