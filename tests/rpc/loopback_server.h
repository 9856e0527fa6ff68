// A server on loopback for one test: a thread that accepts connections one after another and treats
// each the same way.
#pragma once

#include <string>
#include <thread>

#include "rubato/base/address.h"
#include "rubato/rpc/authority.h"

namespace rubato {

class LoopbackServer {
 public:
  enum class Manner {
    kTls,      // a handshake with the identity, TLS 1.3
    kTls12,    // the same, TLS 1.2
    kPlain,    // a line of text
    kSilent,   // nothing, until the server ends
    kHangsUp,  // closes at once
  };
  explicit LoopbackServer(Manner manner, const ServerIdentity& identity = {},
                          const std::string& host = "127.0.0.1");
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  const Address& address() const { return address_; }
  /// The protocol that the last TLS client offered first; read it when the client is done.
  std::string stop_and_get_protocol();

 private:
  void serve();
  void greet(int connection);
  void shake_hands(int connection);

  const Manner manner_;
  const ServerIdentity identity_;
  int listener_ = -1;
  Address address_;
  std::string protocol_;
  std::thread thread_;
};

}  // namespace rubato
