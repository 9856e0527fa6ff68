// What an operator has of a running coordinator: the control socket, the pages for monitors, and
// revocations that take effect at once.
#pragma once

#include <memory>
#include <string>

#include "rubato/rpc/admin.h"
#include "rubato/rpc/revocation_watch.h"
#include "rubato/web/dashboard.h"
#include "rubato/web/http_server.h"

namespace rubato {

class Operation {
 public:
  /// Files, cluster and admission outlive it. `http`: HOST:PORT or PORT, which is loopback's; "":
  /// no pages. Where other machines reach them, the dashboard shows this run alone. A socket that
  /// cannot be is a warning, an address that cannot be an error.
  static StatusOr<std::unique_ptr<Operation>> begin(FileSystem& files, const std::string& run_dir,
                                                    const std::string& http, Cluster& cluster,
                                                    Admission& admission);

 private:
  Operation() = default;
  Status serve_pages(FileSystem& files, const std::string& run_dir, const std::string& http,
                     Cluster& cluster);

  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<Dashboard> dashboard_;
  std::unique_ptr<HttpServer> http_;  // goes first: it asks the dashboard
  std::unique_ptr<RevocationWatch> revocations_;
};

/// HOST:PORT, :PORT or PORT; without a host it is loopback's. Port 0 is any that is free.
/// InvalidArgument as parse_address.
StatusOr<Address> parse_listen(const std::string& text);
/// Only this machine reaches it.
bool is_loopback(const std::string& host);

}  // namespace rubato
