#include "tests/rpc/tcp_relay.h"

#include <array>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rubato/base/status.h"
#include "rubato/base/text.h"

namespace rubato {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

bool send_all(int socket, const char* data, ssize_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(socket, data, static_cast<size_t>(size), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= sent;
  }
  return true;
}

}  // namespace

TcpRelay::TcpRelay(int port) : port_(port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  RUBATO_CHECK(::bind(listener_, generic, size) == 0 && ::listen(listener_, 16) == 0, "no port");
  ::getsockname(listener_, generic, &size);
  own_port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { accept_all(); });
}

TcpRelay::~TcpRelay() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
  for (const auto& connection : connections_) {
    ::shutdown(connection->worker, SHUT_RDWR);
    ::shutdown(connection->coordinator, SHUT_RDWR);
    connection->up.join();
    connection->down.join();
    ::close(connection->worker);
    ::close(connection->coordinator);
  }
}

std::string TcpRelay::address() const { return cat("127.0.0.1:", own_port_); }

void TcpRelay::cut_after(Direction direction, int64_t bytes) {
  cut_direction_ = direction;
  cut_at_ = bytes;
}

std::vector<TcpRelay::Traffic> TcpRelay::traffic() const {
  const std::lock_guard lock(mutex_);
  std::vector<Traffic> traffic;
  for (const auto& connection : connections_)
    traffic.push_back({connection->bytes_up, connection->bytes_down, connection->open});
  return traffic;
}

void TcpRelay::accept_all() {
  for (int socket; (socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
    auto connection = std::make_unique<Connection>();
    connection->worker = socket;
    connection->coordinator = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port_);
    // Where nobody listens the worker finds out by the first read.
    if (::connect(connection->coordinator, reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) != 0) {
      ::shutdown(socket, SHUT_RDWR);
    }
    const int on = 1;
    for (const int end : {socket, connection->coordinator})
      ::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection& made = *connection;
    connection->up = std::thread([this, &made] { carry(made, Direction::kUp); });
    connection->down = std::thread([this, &made] { carry(made, Direction::kDown); });
    const std::lock_guard lock(mutex_);
    connections_.push_back(std::move(connection));
  }
}

bool TcpRelay::is_time_to_cut(Direction direction, int64_t bytes) {
  int64_t at = cut_at_;
  return direction == cut_direction_ && at >= 0 && bytes >= at &&
         cut_at_.compare_exchange_strong(at, -1);
}

void TcpRelay::carry(Connection& connection, Direction direction) {
  const bool up = direction == Direction::kUp;
  const int from = up ? connection.worker : connection.coordinator;
  const int to = up ? connection.coordinator : connection.worker;
  std::atomic<int64_t>& bytes = up ? connection.bytes_up : connection.bytes_down;
  std::array<char, 16 << 10> buffer;
  for (ssize_t got; (got = ::recv(from, buffer.data(), buffer.size(), 0)) > 0;) {
    bytes += got;
    if (!send_all(to, buffer.data(), got) || is_time_to_cut(direction, bytes)) break;
  }
  connection.open = false;
  ::shutdown(from, SHUT_RDWR);
  ::shutdown(to, SHUT_RDWR);
}

}  // namespace rubato
