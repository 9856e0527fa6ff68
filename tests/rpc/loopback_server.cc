#include "tests/rpc/loopback_server.h"

#include <csignal>
#include <memory>
#include <vector>

#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rubato {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;

Bio bio_of(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all};
}

int take_first_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                        const unsigned char* offered, unsigned int, void* seen) {
  *out = offered + 1;
  *out_size = offered[0];
  static_cast<std::string*>(seen)->assign(reinterpret_cast<const char*>(offered + 1), offered[0]);
  return SSL_TLSEXT_ERR_OK;
}

void use_identity(SSL_CTX* context, const ServerIdentity& identity) {
  const Bio key_text = bio_of(identity.private_key.reveal()), chain_text = bio_of(identity.chain);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr);
  X509* own = PEM_read_bio_X509(chain_text.get(), nullptr, nullptr, nullptr);
  RUBATO_CHECK(SSL_CTX_use_certificate(context, own) == 1, "no certificate");
  RUBATO_CHECK(SSL_CTX_use_PrivateKey(context, key) == 1, "no key");
  X509_free(own);
  EVP_PKEY_free(key);
  while (X509* more = PEM_read_bio_X509(chain_text.get(), nullptr, nullptr, nullptr))
    SSL_CTX_add_extra_chain_cert(context, more);
  ERR_clear_error();
}

}  // namespace

LoopbackServer::LoopbackServer(Manner manner, const ServerIdentity& identity,
                               const std::string& host)
    : manner_(manner), identity_(identity) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  if (is_ipv6(host)) {
    auto& address = reinterpret_cast<sockaddr_in6&>(storage);
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    size = sizeof(sockaddr_in6);
  } else {
    auto& address = reinterpret_cast<sockaddr_in&>(storage);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  auto* generic = reinterpret_cast<sockaddr*>(&storage);
  listener_ = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  RUBATO_CHECK(::bind(listener_, generic, size) == 0 && ::listen(listener_, 8) == 0, host);
  ::getsockname(listener_, generic, &size);
  // The port stands at the same place for both families.
  address_ = {host, ntohs(reinterpret_cast<sockaddr_in&>(storage).sin_port)};
  thread_ = std::thread([this] { serve(); });
}

LoopbackServer::~LoopbackServer() { stop_and_get_protocol(); }

std::string LoopbackServer::stop_and_get_protocol() {
  if (thread_.joinable()) {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  return protocol_;
}

void LoopbackServer::serve() {
  // A client that has seen enough hangs up; that is no reason to end the test program.
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  std::vector<int> silent;
  for (int connection; (connection = ::accept(listener_, nullptr, nullptr)) >= 0;) {
    if (manner_ == Manner::kSilent) {
      silent.push_back(connection);
      continue;
    }
    greet(connection);
    ::close(connection);
  }
  for (const int connection : silent) ::close(connection);
}

void LoopbackServer::greet(int connection) {
  constexpr std::string_view kLine = "SSH-2.0-somebody else\r\n";
  if (manner_ == Manner::kPlain) ::send(connection, kLine.data(), kLine.size(), MSG_NOSIGNAL);
  if (manner_ == Manner::kTls || manner_ == Manner::kTls12) shake_hands(connection);
  if (manner_ == Manner::kHangsUp) return;
  // Until the client has read all and hangs up: closing earlier could take it away from it.
  ::shutdown(connection, SHUT_WR);
  for (char buffer[256]; ::recv(connection, buffer, sizeof buffer, 0) > 0;) continue;
}

void LoopbackServer::shake_hands(int connection) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (manner_ == Manner::kTls12) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_alpn_select_cb(context, take_first_protocol, &protocol_);
  use_identity(context, identity_);
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, connection);
  SSL_accept(ssl);
  SSL_free(ssl);
  SSL_CTX_free(context);
  ERR_clear_error();
}

}  // namespace rubato
