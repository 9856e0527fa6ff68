#include "rubato/web/http_server.h"

#include <chrono>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A connection to a port of this machine, as anybody may open one.
class Peer {
 public:
  explicit Peer(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Peer() { close(socket_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Everything that comes back until the server closes.
  std::string ask(const std::string& request) {
    EXPECT_EQ(send(socket_, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string answer;
    char part[4096];
    for (ssize_t got = 0; (got = recv(socket_, part, sizeof part, 0)) > 0;)
      answer.append(part, static_cast<size_t>(got));
    return answer;
  }

 private:
  int socket_;
};

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
}

std::unique_ptr<HttpServer> serve(int port = 0) {
  auto server = serve_http(
      {"127.0.0.1", port},
      {{"/well", [](const HttpQuery&) { return HttpPage{.body = "quite\n"}; }},
       {"/ill", [](const HttpQuery&) { return HttpPage{.code = 503, .body = "not so\n"}; }},
       {"/echo", [](const HttpQuery& query) {
          std::string body;
          for (const auto& [name, value] : query) body += name + "=" + value + "\n";
          return HttpPage{.body = body};
        }}});
  EXPECT_TRUE(server.ok()) << server.status();
  return std::move(*server);
}

TEST(HttpServer, ServesItsPagesAndNothingElse) {
  const auto server = serve();
  const std::string well = Peer(server->port()).ask(get("/well"));
  EXPECT_THAT(well, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(well, HasSubstr("Content-Type: text/plain; charset=utf-8"));
  EXPECT_TRUE(well.ends_with("\r\n\r\nquite\n")) << well;
  EXPECT_THAT(Peer(server->port()).ask(get("/ill")), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(Peer(server->port()).ask(get("/well/../ill")), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Peer(server->port()).ask(get("/")), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Peer(server->port()).ask("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
}

TEST(HttpServer, OnlyReads) {
  const auto server = serve();
  for (const std::string method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
    const std::string answer =
        Peer(server->port())
            .ask(method +
                 " /well HTTP/1.1\r\nContent-Length: 0\r\nHost: here\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 ")) << method;
    EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n")) << method;
  }
  const std::string head =
      Peer(server->port()).ask("HEAD /well HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
}

TEST(HttpServer, HandsAQueryOnDecoded) {
  const auto server = serve();
  EXPECT_TRUE(Peer(server->port())
                  .ask(get("/echo?since=12&name=a%20b%3Cc&since=13"))
                  .ends_with("\r\n\r\nname=a b<c\nsince=12\n"));
}

TEST(HttpServer, NoAnswerMayLoadOrRunAnythingElse) {
  const auto server = serve();
  for (const char* path : {"/well", "/ill", "/nowhere"}) {
    const std::string answer = Peer(server->port()).ask(get(path));
    EXPECT_THAT(answer,
                HasSubstr("Content-Security-Policy: default-src 'none'; script-src 'self'"));
    EXPECT_THAT(answer, HasSubstr("frame-ancestors 'none'"));
    EXPECT_THAT(answer, HasSubstr("X-Content-Type-Options: nosniff"));
  }
}

TEST(HttpServer, SilentPeersHoldItUpForMomentsOnly) {
  const auto server = serve();
  std::vector<std::unique_ptr<Peer>> silent;
  for (int i = 0; i < 12; ++i) silent.push_back(std::make_unique<Peer>(server->port()));
  EXPECT_THAT(Peer(server->port()).ask(get("/well")), StartsWith("HTTP/1.1 200 "));
}

TEST(HttpServer, AnAddressThatIsTakenIsAnError) {
  const auto server = serve();
  const auto second = serve_http({"127.0.0.1", server->port()}, {});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
}

}  // namespace
}  // namespace rubato
