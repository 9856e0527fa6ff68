#include "rubato/rpc/tls_probe.h"

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "rubato/rpc/authority.h"
#include "rubato/rpc/crypto.h"

namespace rubato {
namespace {

using SslContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Ssl = std::unique_ptr<SSL, decltype(&SSL_free)>;
using Resolved = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

/// Waits on a socket until it is ready or the time is over, whichever comes first.
class Deadline {
 public:
  explicit Deadline(int64_t timeout_ms) : timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
    itimerspec spec{};
    spec.it_value.tv_sec = timeout_ms / 1000;
    spec.it_value.tv_nsec = timeout_ms % 1000 * 1'000'000;
    ::timerfd_settime(timer_.get(), 0, &spec, nullptr);
  }
  /// `events` as of poll(2). False when the time is over.
  bool wait(int socket, short events) const {
    std::array<pollfd, 2> waiting = {{{socket, events, 0}, {timer_.get(), POLLIN, 0}}};
    int ready = 0;
    do {
      ready = ::poll(waiting.data(), waiting.size(), -1);
    } while (ready < 0 && errno == EINTR);
    return ready > 0 && waiting[1].revents == 0;
  }

 private:
  Descriptor timer_;
};

std::string words_of(int error_number) { return std::generic_category().message(error_number); }

/// What went wrong in words; empty when the socket is connected.
std::string connect_socket(int socket, const addrinfo& target, const Deadline& deadline) {
  if (::connect(socket, target.ai_addr, target.ai_addrlen) == 0) return "";
  if (errno != EINPROGRESS) return words_of(errno);
  if (!deadline.wait(socket, POLLOUT)) return "no connection in time";
  int error_number = 0;
  socklen_t size = sizeof error_number;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error_number, &size);
  return error_number == 0 ? "" : words_of(error_number);
}

/// A client's side of TLS between two buffers: OpenSSL would write to a socket in a way that ends
/// the program when the peer has hung up.
class Handshake {
 public:
  Handshake(SSL_CTX* context, int socket)
      : ssl_(SSL_new(context), SSL_free),
        incoming_(BIO_new(BIO_s_mem())),
        outgoing_(BIO_new(BIO_s_mem())),
        socket_(socket) {
    SSL_set_bio(ssl_.get(), incoming_, outgoing_);  // which owns them from here on
    SSL_set_tlsext_host_name(ssl_.get(), std::string(kCoordinatorName).c_str());
  }
  const SSL* ssl() const { return ssl_.get(); }

  /// What went wrong in words; empty when the peer has shown what it has.
  std::string run(const Deadline& deadline) {
    for (;;) {
      const int result = SSL_connect(ssl_.get());
      const int wants = SSL_get_error(ssl_.get(), result);
      if (wants != SSL_ERROR_NONE && wants != SSL_ERROR_WANT_READ)
        return cat("no TLS (", take_openssl_error(), ")");
      if (std::string error = send_outgoing(deadline); !error.empty()) return error;
      if (wants == SSL_ERROR_NONE) return "";
      if (std::string error = receive(deadline); !error.empty()) return error;
    }
  }

 private:
  static constexpr char kLate[] = "no TLS handshake in time";

  std::string send_outgoing(const Deadline& deadline) {
    char* data = nullptr;
    auto left = static_cast<size_t>(BIO_get_mem_data(outgoing_, &data));
    while (left > 0) {
      const ssize_t sent = ::send(socket_, data, left, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return words_of(errno);
      if (sent < 0 && !deadline.wait(socket_, POLLOUT)) return kLate;
      if (sent > 0) data += sent, left -= static_cast<size_t>(sent);
    }
    (void)BIO_reset(outgoing_);
    return "";
  }

  std::string receive(const Deadline& deadline) {
    std::array<char, 4096> buffer;
    if (!deadline.wait(socket_, POLLIN)) return kLate;
    const ssize_t count = ::recv(socket_, buffer.data(), buffer.size(), 0);
    if (count == 0) return "a connection that was closed at once";
    if (count < 0) return errno == EAGAIN || errno == EINTR ? "" : words_of(errno);
    BIO_write(incoming_, buffer.data(), static_cast<int>(count));
    return "";
  }

  Ssl ssl_;
  BIO* incoming_;
  BIO* outgoing_;
  int socket_;
};

/// Takes any certificate: whom to believe is the caller's question.
SslContext make_context() {
  static constexpr std::array<unsigned char, 3> kHttp2 = {2, 'h', '2'};
  SslContext context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  RUBATO_CHECK(context != nullptr, "TLS: ", take_openssl_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kHttp2.data(), kHttp2.size());
  return context;
}

std::vector<std::string> chain_of(const SSL* ssl) {
  std::vector<std::string> chain;
  const STACK_OF(X509)* presented = SSL_get_peer_cert_chain(ssl);
  for (int i = 0; i < sk_X509_num(presented); ++i) {
    unsigned char* bytes = nullptr;
    const int size = i2d_X509(sk_X509_value(presented, i), &bytes);
    if (size <= 0) continue;
    chain.emplace_back(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    OPENSSL_free(bytes);
  }
  return chain;
}

StatusOr<std::vector<std::string>> probe(const addrinfo& target, int64_t timeout_ms,
                                         std::string_view where) {
  const auto unavailable = [&](std::string_view got) {
    return absl::UnavailableError(
        cat("[join] ", where, ": got ", got, ", want a coordinator there"));
  };
  const Deadline deadline(timeout_ms);
  const Descriptor socket(::socket(
      target.ai_family, target.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, target.ai_protocol));
  if (socket.get() < 0) return unavailable(words_of(errno));
  if (const std::string error = connect_socket(socket.get(), target, deadline); !error.empty())
    return unavailable(error);
  const SslContext context = make_context();
  Handshake handshake(context.get(), socket.get());
  if (const std::string error = handshake.run(deadline); !error.empty()) return unavailable(error);
  std::vector<std::string> chain = chain_of(handshake.ssl());
  if (chain.empty()) return unavailable("TLS without a certificate");
  return chain;
}

}  // namespace

StatusOr<std::vector<std::string>> probe_tls(const Address& address, int64_t timeout_ms) {
  RUBATO_CHECK(timeout_ms > 0, timeout_ms);
  const std::string where = to_text(address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0)
    return absl::UnavailableError(cat("[join] ", where, ": got ", ::gai_strerror(error),
                                      ", want a name that stands for an address"));
  const Resolved resolved(found, freeaddrinfo);
  StatusOr<std::vector<std::string>> chain = absl::UnavailableError(where);
  for (const addrinfo* target = found; target != nullptr && !chain.ok(); target = target->ai_next)
    chain = probe(*target, timeout_ms, where);
  return chain;
}

}  // namespace rubato
