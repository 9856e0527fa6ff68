// The dashboard as commands offer it: `train` and `compare` beside their work, `dashboard` by
// itself. The coordinator has it on its own pages (operation.h).
#pragma once

#include <iosfwd>
#include <memory>
#include <string>

#include "rubato/web/dashboard.h"
#include "rubato/web/http_server.h"

namespace CLI {
class App;
}

namespace rubato {

/// Serves as long as it lives.
struct ServedDashboard {
  std::unique_ptr<Dashboard> dashboard;
  std::unique_ptr<HttpServer> server;  // goes first: it asks the dashboard
};

/// --dashboard of commands that train.
void add_dashboard_flag(CLI::App& command, std::string& listen);

/// Serves at `listen`, [HOST:]PORT, and says where in one line on `out`; nothing when `listen` is
/// "". InvalidArgument for an address that other machines reach, unless `is_public`; Unavailable
/// for one that is taken. `files` outlives it.
StatusOr<ServedDashboard> serve_dashboard(FileSystem& files, const GalleryConfig& config,
                                          const std::string& listen, bool is_public,
                                          std::ostream& out);

}  // namespace rubato
