#include "rubato/app/operation.h"

#include <algorithm>

#include "rubato/rpc/metrics_text.h"

namespace rubato {
namespace {

// A driver that made no round for so long is stuck: on the disk, or in a snapshot that takes long.
constexpr Nanos kHealthy = 5 * kNanosPerSecond;

HttpPage health_page(Cluster& cluster) {
  const Nanos silent = cluster.clock() - cluster.gauges().last_round;
  if (silent < kHealthy) return {.body = "ok\n"};
  return {.code = 503, .body = cat("the driver made no round for ", to_seconds(silent), " s\n")};
}

}  // namespace

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

StatusOr<Address> parse_listen(const std::string& text) {
  const bool is_port = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  const bool has_host = !is_port && !text.starts_with(':');
  std::string whole = has_host ? text : cat("127.0.0.1:", text.substr(text.starts_with(':')));
  // Port 0 asks the system for one; only a listener may.
  const bool any_port = whole.ends_with(":0");
  if (any_port) whole.back() = '1';
  RUBATO_ASSIGN_OR_RETURN(Address address, parse_address(whole));
  if (any_port) address.port = 0;
  return address;
}

StatusOr<std::unique_ptr<Operation>> Operation::begin(FileSystem& files, const std::string& run_dir,
                                                      const std::string& http, Cluster& cluster,
                                                      Admission& admission) {
  std::unique_ptr<Operation> operation(new Operation());
  StatusOr<std::unique_ptr<AdminServer>> admin = listen_admin(run_dir, cluster);
  if (admin.ok()) {
    operation->admin_ = std::move(*admin);
  } else {
    cluster.say({.level = Notice::Level::kWarning,
                 .event = "operator",
                 .text = cat("no status and no control: ", admin.status().message()),
                 .facts = {}});
  }
  if (!http.empty()) RUBATO_RETURN_IF_ERROR(operation->serve_pages(files, run_dir, http, cluster));
  if (!cluster.config().script)
    operation->revocations_ = std::make_unique<RevocationWatch>(admission, cluster);
  return operation;
}

Status Operation::serve_pages(FileSystem& files, const std::string& run_dir,
                              const std::string& http, Cluster& cluster) {
  RUBATO_ASSIGN_OR_RETURN(Address address, parse_listen(http));
  dashboard_ = std::make_unique<Dashboard>(
      files, GalleryConfig{parent_path(run_dir), base_name(run_dir), is_loopback(address.host)});
  HttpPages pages = dashboard_->pages();
  pages["/healthz"] = [&cluster](const HttpQuery&) { return health_page(cluster); };
  pages["/metrics"] = [&cluster](const HttpQuery&) {
    return HttpPage{.content_type = kMetricsContentType, .body = metrics_text(cluster.status())};
  };
  RUBATO_ASSIGN_OR_RETURN(http_, serve_http(address, pages));
  address.port = http_->port();
  cluster.say({.event = "listening",
               .text = cat("dashboard at http://", to_text(address), "/, metrics at http://",
                           to_text(address), "/metrics"),
               .facts = {{"http", to_text(address)}}});
  return absl::OkStatus();
}

}  // namespace rubato
