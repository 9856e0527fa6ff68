// A few pages over HTTP for monitors: GET and nothing else, plain text, no request body. Whoever
// reaches the address reads them, so it is the machine's own unless somebody says otherwise.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "rubato/base/address.h"

namespace rubato {

struct HttpPage {
  int code = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

/// Serves on threads of its own; destroyed, it ends within about a second.
class HttpServer {
 public:
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

/// `pages` by path (`/metrics`), called from several threads at once. Port 0: any that is free.
/// Unavailable when the address cannot be listened at.
StatusOr<std::unique_ptr<HttpServer>> serve_http(
    const Address& address, const std::map<std::string, std::function<HttpPage()>>& pages);

}  // namespace rubato
