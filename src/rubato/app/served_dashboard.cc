#include "rubato/app/served_dashboard.h"

#include <ostream>

#include <CLI/CLI.hpp>

#include "rubato/app/operation.h"

namespace rubato {

void add_dashboard_flag(CLI::App& command, std::string& listen) {
  command.add_option("--dashboard", listen,
                     "PORT of a page that shows the run while it goes, on this machine only");
}

StatusOr<ServedDashboard> serve_dashboard(FileSystem& files, const GalleryConfig& config,
                                          const std::string& listen, bool is_public,
                                          std::ostream& out) {
  ServedDashboard served;
  if (listen.empty()) return served;
  RUBATO_ASSIGN_OR_RETURN(Address address, parse_listen(listen));
  if (!is_public && !is_loopback(address.host)) {
    return absl::InvalidArgumentError(
        cat("[dashboard] got ", to_text(address),
            ", want an address of this machine alone; `rubato dashboard RUN --public` shows a run "
            "to whoever reaches the address"));
  }
  served.dashboard = std::make_unique<Dashboard>(files, config);
  RUBATO_ASSIGN_OR_RETURN(served.server, serve_http(address, served.dashboard->pages()));
  address.port = served.server->port();
  out << "dashboard: http://" << to_text(address) << "/" << std::endl;
  return served;
}

}  // namespace rubato
