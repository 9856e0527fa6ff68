// Bytes over TCP on loopback, and nothing else: no TLS, no framing. Shown beside the exchange.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

class TcpServer {
 public:
  static StatusOr<std::unique_ptr<TcpServer>> listen();
  ~TcpServer();
  int port() const { return port_; }

 private:
  TcpServer(int listener, int port);
  void accept_all();

  int listener_, port_;
  std::vector<std::thread> connections_;  // the accepting thread's
  std::thread thread_;
};

class TcpLink {
 public:
  /// Unavailable when nobody listens.
  static StatusOr<TcpLink> connect(int port);
  TcpLink(TcpLink&& other) noexcept;
  TcpLink& operator=(TcpLink&&) = delete;
  ~TcpLink();

  /// Returns when the server has them all.
  Status upload(int64_t bytes);
  Status download(int64_t bytes);

 private:
  explicit TcpLink(int socket) : socket_(socket) {}
  int socket_;
};

}  // namespace rubato
