#include "rubato/app/log.h"

#include <chrono>
#include <mutex>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

// spdlog's lines, without their newline, to wherever people look.
class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  LineSink(std::ostream& out, ProgressPrinter* progress) : out_(out), progress_(progress) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const std::string_view text(line.data(), line.size());
    if (progress_ != nullptr) {
      progress_->note(text);
    } else {
      out_ << text << '\n' << std::flush;
    }
  }
  void flush_() override { out_ << std::flush; }

  std::ostream& out_;
  ProgressPrinter* progress_;
};

spdlog::level::level_enum level_of(Notice::Level level) {
  switch (level) {
    case Notice::Level::kDebug:
      return spdlog::level::debug;
    case Notice::Level::kInfo:
      return spdlog::level::info;
    case Notice::Level::kWarning:
      return spdlog::level::warn;
    case Notice::Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// The fields behind time and level, which are the pattern's.
std::string json_fields(const Notice& notice) {
  nlohmann::ordered_json object = {{"event", notice.event}, {"message", notice.text}};
  for (const auto& [name, value] : notice.facts)
    std::visit([&, key = std::string(name)](const auto& one) { object[key] = one; }, value);
  // A peer's words may be no UTF-8; a log line always is.
  const std::string text =
      object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return text.substr(1);
}

std::string text_line(const Notice& notice) {
  return notice.level >= Notice::Level::kWarning ? cat("warning  ", notice.text) : notice.text;
}

}  // namespace

void add_log_flags(CLI::App& command, LogFlags& flags) {
  command.add_option("--log-format", flags.format, "text, or json: one object a line")
      ->check(CLI::IsMember({"text", "json"}));
  command.add_option("--log-level", flags.level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
}

Log::Log(const LogFlags& flags, std::ostream& out, ProgressPrinter* progress)
    : is_json_(flags.format == "json") {
  auto sink = std::make_shared<LineSink>(out, is_json_ ? nullptr : progress);
  logger_ = std::make_unique<spdlog::logger>("rubato", std::move(sink));
  const auto time = is_json_ ? spdlog::pattern_time_type::utc : spdlog::pattern_time_type::local;
  const std::string pattern =
      is_json_ ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v)" : "  %H:%M:%S  %v";
  logger_->set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern, time, ""));
  logger_->set_level(spdlog::level::from_str(flags.level));
}

Log::~Log() = default;

void Log::write(const Notice& notice) {
  const auto level = level_of(notice.level);
  if (!logger_->should_log(level)) return;
  // As it stands: a brace in it is no placeholder.
  const std::string line = is_json_ ? json_fields(notice) : text_line(notice);
  logger_->log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace rubato
