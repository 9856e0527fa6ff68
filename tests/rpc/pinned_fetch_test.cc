// The first contact against real sockets on loopback: the right peer is believed, no other is.
#include "rubato/rpc/pinned_fetch.h"

#include "tests/rpc/loopback_server.h"
#include "tests/rpc/pki_rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "rubato/rpc/crypto.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using Manner = LoopbackServer::Manner;

constexpr int64_t kPatienceMs = 20'000;  // of a loaded machine; nothing waits for it to pass

std::string words(const Status& status) { return std::string(status.message()); }

StatusOr<std::string> fetch(const Address& address, const std::string& fingerprint,
                            int64_t timeout_ms = kPatienceMs, int64_t now = kNow) {
  return fetch_pinned_authority(address, fingerprint, timeout_ms, now);
}

TEST(PinnedFetch, TheRightAuthorityIsFetched) {
  const Authority authority = make_authority();
  for (const Manner manner : {Manner::kTls, Manner::kTls12}) {
    LoopbackServer server(manner, authority.issue_server({}, kNow).value());
    const auto pem = fetch(server.address(), authority.fingerprint());
    ASSERT_TRUE(pem.ok()) << pem.status();
    EXPECT_EQ(*pem, authority.certificate_pem());
    EXPECT_TRUE(fetch({"localhost", server.address().port}, authority.fingerprint()).ok());
    EXPECT_EQ(server.stop_and_get_protocol(), "h2");
  }
}

TEST(PinnedFetch, SpeaksIpv6WhereTheMachineDoes) {
  const Authority authority = make_authority();
  const Address nobody = {"::1", 1};
  const Status refused = fetch(nobody, authority.fingerprint()).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(words(refused), HasSubstr("[join] [::1]:1: got "));
  if (words(refused).find("Connection refused") == std::string::npos) return;  // no IPv6 here
  LoopbackServer server(Manner::kTls, authority.issue_server({}, kNow).value(), "::1");
  const auto pem = fetch(server.address(), authority.fingerprint());
  EXPECT_TRUE(pem.ok()) << pem.status();
}

TEST(PinnedFetch, AnotherAuthorityIsRefusedWithBothFingerprints) {
  const Authority authority = make_authority(), other = make_authority();
  LoopbackServer server(Manner::kTls, other.issue_server({}, kNow).value());
  const auto pem = fetch(server.address(), authority.fingerprint());
  EXPECT_TRUE(absl::IsPermissionDenied(pem.status())) << pem.status();
  EXPECT_EQ(words(pem.status()),
            cat("[join] ", to_text(server.address()), ": got an authority of fingerprint ",
                other.fingerprint(), ", want ", authority.fingerprint(),
                "; this is another coordinator, or somebody between"));
}

TEST(PinnedFetch, WhoOnlyShowsTheAuthorityIsRefused) {
  // The authority's certificate is no secret: somebody between can send it along.
  const Authority authority = make_authority(), other = make_authority();
  ServerIdentity identity = other.issue_server({}, kNow).value();
  identity.chain += authority.certificate_pem();
  LoopbackServer server(Manner::kTls, identity);
  const auto pem = fetch(server.address(), authority.fingerprint());
  EXPECT_TRUE(absl::IsPermissionDenied(pem.status())) << pem.status();
  EXPECT_THAT(words(pem.status()), HasSubstr("[join] [x509] 127.0.0.1:"));
  EXPECT_THAT(words(pem.status()), HasSubstr("want one that the pinned authority signed"));
}

TEST(PinnedFetch, AWorkerIsNoCoordinator) {
  const Authority authority = make_authority();
  const PrivateKey key = make_key();
  const auto worker = authority.sign_worker(*key.request_pem(), WorkerId(1), kNow).value();
  LoopbackServer server(Manner::kTls,
                        {*key.pem(), worker.pem + authority.certificate_pem(), kNow + kDayS});
  const auto pem = fetch(server.address(), authority.fingerprint());
  EXPECT_TRUE(absl::IsPermissionDenied(pem.status())) << pem.status();
}

TEST(PinnedFetch, AWrongClockIsNamed) {
  const Authority authority = make_authority();
  LoopbackServer server(Manner::kTls, authority.issue_server({}, kNow).value());
  const auto pem =
      fetch(server.address(), authority.fingerprint(), kPatienceMs, kNow - 300 * kDayS);
  EXPECT_TRUE(absl::IsPermissionDenied(pem.status())) << pem.status();
  EXPECT_THAT(words(pem.status()), HasSubstr("is the clock of this machine right?"));
}

TEST(PinnedFetch, PeersThatSpeakNoTlsAreUnavailable) {
  const auto refused = [](Manner manner, std::string_view got) {
    LoopbackServer server(manner);
    const auto pem = fetch(server.address(), std::string(64, '0'));
    EXPECT_TRUE(absl::IsUnavailable(pem.status())) << pem.status();
    EXPECT_THAT(words(pem.status()), HasSubstr(cat(to_text(server.address()), ": got ")));
    EXPECT_THAT(words(pem.status()), HasSubstr(std::string(got)));
  };
  refused(Manner::kPlain, "got no TLS (");
  refused(Manner::kHangsUp, ", want a coordinator there");
}

TEST(PinnedFetch, ASilentPeerIsGivenUp) {
  LoopbackServer server(Manner::kSilent);
  const auto pem = fetch(server.address(), std::string(64, '0'), 50);
  EXPECT_TRUE(absl::IsUnavailable(pem.status())) << pem.status();
  EXPECT_THAT(words(pem.status()), HasSubstr("got no TLS handshake in time, want a coordinator"));
}

TEST(PinnedFetch, NobodyThereIsUnavailable) {
  Address address;
  {
    LoopbackServer server(Manner::kSilent);
    address = server.address();
  }
  const auto pem = fetch(address, std::string(64, '0'));
  EXPECT_TRUE(absl::IsUnavailable(pem.status())) << pem.status();
  EXPECT_THAT(words(pem.status()), HasSubstr("got Connection refused, want a coordinator there"));
  const auto unknown = fetch({"name.invalid", 7070}, std::string(64, '0'));
  EXPECT_TRUE(absl::IsUnavailable(unknown.status())) << unknown.status();
  EXPECT_THAT(words(unknown.status()), HasSubstr("[join] name.invalid:7070: got "));
}

TEST(PinnedFetch, LeavesNoErrorBehind) {
  LoopbackServer server(Manner::kPlain);
  EXPECT_FALSE(fetch(server.address(), std::string(64, '0')).ok());
  EXPECT_EQ(take_openssl_error(), "an error without a name");
}

}  // namespace
}  // namespace rubato
