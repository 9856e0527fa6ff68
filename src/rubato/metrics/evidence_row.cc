#include "rubato/metrics/evidence_row.h"

#include <algorithm>
#include <cmath>

#include "rubato/metrics/record_visitors.h"

namespace rubato {
namespace {

using nlohmann::ordered_json;

template <class Visitor, class Row>
void walk_row(Visitor& v, Row& r) {
  v.field("experiment", r.experiment);
  v.field("cell", r.cell);
  v.field("row", r.row);
  v.field("date", r.date);
  v.field("processor", r.processor);
  v.field("losses_digest", r.losses_digest);
  v.field("seconds_per_step", r.seconds_per_step);
  v.field("outer_rounds", r.outer_rounds);
  v.field("curve_tokens", r.curve_tokens);
  v.field("curve_time_s", r.curve_time_s);
  v.field("curve_loss_nats", r.curve_loss_nats);
}

StatusOr<EvidenceRow> read_row(std::string_view line) {
  const ordered_json object = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("summary")) {
    return absl::DataLossError("got no JSON object with a summary");
  }
  RecordReader reader(object);
  EvidenceRow row;
  walk_row(reader, row);
  RUBATO_RETURN_IF_ERROR(reader.status());
  const size_t entries = row.curve_loss_nats.size();
  if (row.curve_tokens.size() != entries || row.curve_time_s.size() != entries) {
    return absl::DataLossError("got curves of different lengths, want one entry an evaluation");
  }
  RUBATO_ASSIGN_OR_RETURN(row.summary, summary_from_json(object["summary"].dump()));
  const auto is_speed = [](double seconds) { return seconds >= 1e-9 && seconds <= 1e9; };
  if (row.seconds_per_step.empty() || !std::ranges::all_of(row.seconds_per_step, is_speed) ||
      row.summary.per_worker.size() > row.seconds_per_step.size()) {
    return absl::DataLossError("got no fleet of the summary's workers in seconds_per_step");
  }
  return row;
}

}  // namespace

std::string to_line(const EvidenceRow& row) {
  ordered_json out;
  RecordWriter writer(out);
  walk_row(writer, row);
  out["summary"] = to_json(row.summary);
  return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

StatusOr<size_t> read_evidence_rows(std::string_view who, std::string_view text,
                                    std::vector<EvidenceRow>& rows) {
  size_t sound = 0, number = 0;
  for (;;) {
    const size_t end = text.find('\n', sound);
    if (end == std::string_view::npos) return sound;
    ++number;
    StatusOr<EvidenceRow> row = read_row(text.substr(sound, end - sound));
    if (!row.ok()) {
      return absl::DataLossError(
          cat("[", who, "] line ", number, ": ",
              std::string_view(row.status().message().data(), row.status().message().size())));
    }
    rows.push_back(*std::move(row));
    sound = end + 1;
  }
}

EvidenceRow at_speeds(EvidenceRow row, const std::vector<double>& seconds_per_step) {
  RUBATO_CHECK(seconds_per_step.size() == row.seconds_per_step.size());
  // In nanoseconds; as doubles, which hold whole ones for a hundred days and overflow nowhere.
  const auto nanos = [](double seconds) { return std::round(seconds * 1e9); };
  const double before = nanos(std::ranges::max(row.seconds_per_step));
  const double after = nanos(std::ranges::max(seconds_per_step));
  row.seconds_per_step = seconds_per_step;
  const auto retimed = [&](double seconds) {  // a whole number of the slowest worker's steps
    return std::round(nanos(seconds) / before) * after / 1e9;
  };
  RunSummary& summary = row.summary;
  for (double& time_s : row.curve_time_s) time_s = retimed(time_s);
  summary.virtual_time_s = retimed(summary.virtual_time_s);
  if (summary.time_to_sync_loss_s) {
    summary.time_to_sync_loss_s = retimed(*summary.time_to_sync_loss_s);
  }
  double train_s = 0;
  for (size_t i = 0; i < summary.per_worker.size(); ++i) {
    WorkerTotals& worker = summary.per_worker[i];
    worker.train_s = static_cast<double>(worker.steps) * nanos(seconds_per_step[i]) / 1e9;
    worker.wait_s = summary.virtual_time_s - worker.train_s;
    train_s += worker.train_s;
  }
  const double all_s = summary.virtual_time_s * static_cast<double>(summary.per_worker.size());
  if (all_s > 0) summary.utilisation = train_s / all_s;
  return row;
}

double time_to_loss(const EvidenceRow& row, double loss_nats) {
  for (size_t i = 0; i < row.curve_loss_nats.size(); ++i) {
    if (row.curve_loss_nats[i] <= loss_nats) return row.curve_time_s[i];
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace rubato
