// A few pages over HTTP: GET and nothing else, no request body. Whoever reaches the address reads
// them, so it is the machine's own unless somebody says otherwise.
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

/// What stands behind the `?` of an address, decoded; of a name that comes twice, the first.
using HttpQuery = std::map<std::string, std::string>;

/// By path (`/metrics`); called from several threads at once.
using HttpPages = std::map<std::string, std::function<HttpPage(const HttpQuery&)>>;

/// Serves on threads of its own; destroyed, it ends within about a second.
class HttpServer {
 public:
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

/// Port 0: any that is free. Every answer forbids a browser to load anything from elsewhere, to run
/// scripts that stand in a page, and to show the page inside another. Unavailable when the address
/// cannot be listened at.
StatusOr<std::unique_ptr<HttpServer>> serve_http(const Address& address, const HttpPages& pages);

}  // namespace rubato
