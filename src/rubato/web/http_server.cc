#include "rubato/web/http_server.h"

#include <thread>

#include <httplib.h>

namespace rubato {
namespace {

// Monitors ask every few seconds, one at a time; somebody who connects and says nothing holds a
// thread for a second.
constexpr size_t kThreads = 4;
constexpr time_t kPatienceSeconds = 1;
constexpr size_t kLongestBody = 1024;  // [bytes] of a request

// Pages take nothing but what comes from this server, so that text in them, whoever wrote it, is
// never run, and no reader of them is known anywhere else.
const httplib::Headers kHeaders = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"}};

class Server final : public HttpServer {
 public:
  explicit Server(const HttpPages& pages) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_read_timeout(kPatienceSeconds);
    server_.set_write_timeout(kPatienceSeconds);
    server_.set_keep_alive_timeout(kPatienceSeconds);
    server_.set_payload_max_length(kLongestBody);
    // The default would let a second coordinator listen at the same port.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.set_default_headers(kHeaders);
    server_.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& answer) {
      if (request.method == "GET" || request.method == "HEAD")
        return httplib::Server::HandlerResponse::Unhandled;
      answer.status = 405;
      answer.set_header("Allow", "GET, HEAD");
      return httplib::Server::HandlerResponse::Handled;
    });
    for (const auto& [path, page] : pages) {
      server_.Get(
          path, [page = page](const httplib::Request& request, httplib::Response& response) {
            const HttpPage made = page(HttpQuery(request.params.begin(), request.params.end()));
            response.status = made.code;
            response.set_content(made.body, made.content_type);
          });
    }
  }
  ~Server() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Status listen(const Address& address) {
    port_ = address.port;
    bool bound = true;
    if (port_ == 0) {
      port_ = server_.bind_to_any_port(address.host);
      bound = port_ > 0;
    } else {
      bound = server_.bind_to_port(address.host, port_);
    }
    if (!bound) {
      return absl::UnavailableError(
          cat("[http] got ", to_text(address), ", want an address that is free on this machine"));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() before it runs would be lost.
    while (!server_.is_running()) std::this_thread::yield();
    return absl::OkStatus();
  }
  int port() const override { return port_; }

 private:
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace

StatusOr<std::unique_ptr<HttpServer>> serve_http(const Address& address, const HttpPages& pages) {
  auto server = std::make_unique<Server>(pages);
  RUBATO_RETURN_IF_ERROR(server->listen(address));
  return server;
}

}  // namespace rubato
