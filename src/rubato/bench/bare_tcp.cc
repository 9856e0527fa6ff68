#include "rubato/bench/bare_tcp.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rubato {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;

// A request: how many bytes go up, or as a negative number come down.
bool send_all(int socket, const void* data, int64_t size) {
  const char* at = static_cast<const char*>(data);
  for (ssize_t sent; size > 0; at += sent, size -= sent) {
    sent = ::send(socket, at, static_cast<size_t>(size), MSG_NOSIGNAL);
    if (sent <= 0) return false;
  }
  return true;
}

bool receive_all(int socket, void* data, int64_t size) {
  return size == 0 ||
         ::recv(socket, data, static_cast<size_t>(size), MSG_WAITALL) == static_cast<ssize_t>(size);
}

bool send_pieces(int socket, int64_t bytes) {
  const std::vector<char> piece(static_cast<size_t>(kPieceBytes), 'r');
  for (; bytes > 0; bytes -= kPieceBytes) {
    if (!send_all(socket, piece.data(), std::min(bytes, kPieceBytes))) return false;
  }
  return true;
}

bool receive_pieces(int socket, int64_t bytes) {
  std::vector<char> piece(static_cast<size_t>(kPieceBytes));
  while (bytes > 0) {
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), 0);
    if (got <= 0) return false;
    bytes -= got;
  }
  return true;
}

void serve(int socket) {
  for (int64_t request = 0; receive_all(socket, &request, sizeof request);) {
    if (request < 0) {
      if (!send_pieces(socket, -request)) break;
    } else if (!receive_pieces(socket, request) || !send_all(socket, &request, sizeof request)) {
      break;
    }
  }
  ::close(socket);
}

Status broken() { return absl::UnavailableError("[bench] got a broken TCP connection"); }

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

}  // namespace

TcpServer::TcpServer(int listener, int port)
    : listener_(listener), port_(port), thread_([this] { accept_all(); }) {}

StatusOr<std::unique_ptr<TcpServer>> TcpServer::listen() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener, generic, size) != 0 || ::listen(listener, 64) != 0) {
    ::close(listener);
    return absl::UnavailableError("[bench] got no port on loopback");
  }
  ::getsockname(listener, generic, &size);
  return std::unique_ptr<TcpServer>(new TcpServer(listener, ntohs(address.sin_port)));
}

TcpServer::~TcpServer() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  for (std::thread& connection : connections_) connection.join();
  ::close(listener_);
}

void TcpServer::accept_all() {
  for (int socket; (socket = ::accept(listener_, nullptr, nullptr)) >= 0;)
    connections_.emplace_back(serve, socket);
}

StatusOr<TcpLink> TcpLink::connect(int port) {
  TcpLink link(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  if (::connect(link.socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return broken();
  return link;
}

TcpLink::TcpLink(TcpLink&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}

TcpLink::~TcpLink() {
  if (socket_ >= 0) ::close(socket_);
}

Status TcpLink::upload(int64_t bytes) {
  int64_t reply = 0;
  const bool done = send_all(socket_, &bytes, sizeof bytes) && send_pieces(socket_, bytes) &&
                    receive_all(socket_, &reply, sizeof reply) && reply == bytes;
  return done ? absl::OkStatus() : broken();
}

Status TcpLink::download(int64_t bytes) {
  const int64_t request = -bytes;
  const bool done = send_all(socket_, &request, sizeof request) && receive_pieces(socket_, bytes);
  return done ? absl::OkStatus() : broken();
}

}  // namespace rubato
