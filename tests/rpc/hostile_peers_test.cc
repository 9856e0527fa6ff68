// Peers over a real network that have no right to be there, say nothing, stall, or send garbage: an
// honest worker gets on meanwhile, and threads and memory stay bounded.
#include <array>
#include <csignal>

#include "tests/rpc/grpc_rig.h"
#include "tests/rpc/pki_rig.h"
#include "tests/rpc/refusals.h"
#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rubato/base/rng.h"
#include "rubato/rpc/grpc_status.h"
#include "rubato/v1/control.grpc.pb.h"
#include "rubato/v1/exchange.grpc.pb.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr int64_t kMib = 1 << 20;

v1::Chunk message_of(const Chunk& chunk) {
  v1::Chunk message;
  message.set_offset(chunk.offset);
  message.set_total(chunk.total);
  message.set_checksum(chunk.checksum);
  message.set_data(std::string(chunk.data));
  return message;
}

// ---- who may enter

class DoorTest : public testing::Test {
 protected:
  Status describe(const LinkConfig& config) {
    return make_grpc_link(config)->describe(rig_.peers().describe_request()).status();
  }
  // A handshake that fails looks like nobody there, after ten seconds; this asks for less.
  bool can_connect(const LinkConfig& config) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = config.ca_pem;
    options.pem_cert_chain = config.certificate_pem;
    options.pem_private_key = config.key_pem;
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("rubato-coordinator");
    const auto channel =
        grpc::CreateCustomChannel(config.address, grpc::SslCredentials(options), arguments);
    grpc::ClientContext context;
    v1::RunDescription reply;
    const grpc::Status status =
        v1::Control::NewStub(channel)->Describe(&context, rig_.peers().describe_request(), &reply);
    return status.error_code() != grpc::StatusCode::UNAVAILABLE;
  }
  GrpcRig rig_;
};

TEST_F(DoorTest, AWorkerWithACertificateEnters) {
  const Status status = describe(rig_.enrolled());
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(DoorTest, NobodyEntersWithoutACertificate) {
  expect_refusal(describe(rig_.stranger()), Code::kUnauthenticated,
                 "[door] got a caller without a certificate");
  const auto link = make_grpc_link(rig_.stranger());
  const auto stream = link->attend(rig_.peers().hello());
  if (stream.ok()) {
    EXPECT_FALSE((*stream)->next().has_value());
    EXPECT_TRUE(absl::IsUnauthenticated((*stream)->finish()));
  } else {
    EXPECT_TRUE(absl::IsUnauthenticated(stream.status())) << stream.status();
  }
  const auto refuse_chunks = [](const Chunk&) { return absl::OkStatus(); };
  EXPECT_TRUE(absl::IsUnauthenticated(link->fetch({}, refuse_chunks)));
  EXPECT_TRUE(absl::IsUnauthenticated(link->push_offset({}).status()));
  EXPECT_TRUE(absl::IsUnauthenticated(link->push({}, [](Chunk&) { return false; }).status()));
}

TEST_F(DoorTest, TokensOpenNothingWhereThereIsTls) {
  LinkConfig config = rig_.stranger();
  const LinkConfig worker = rig_.enrolled();
  config.worker = worker.worker;
  config.token = rig_.admission().draw_token(WorkerId(worker.worker)).value().reveal();
  EXPECT_TRUE(absl::IsUnauthenticated(describe(config)));
}

TEST_F(DoorTest, CertificatesOfAnotherAuthorityEndTheHandshake) {
  MemoryFileSystem files;
  const Authority other = Authority::create_or_load(files, "/run", rig_.now()).value();
  EXPECT_FALSE(can_connect(rig_.certified(other, WorkerId(0), rig_.now())));
  LinkConfig deceived = rig_.enrolled();
  deceived.ca_pem = other.certificate_pem();
  EXPECT_FALSE(can_connect(deceived)) << "a worker speaks to its own coordinator only";
}

TEST_F(DoorTest, CertificatesNobodyRecordedAreRefused) {
  rig_.enrolled();
  const LinkConfig config = rig_.certified(rig_.authority(), WorkerId(0), rig_.now());
  expect_refusal(describe(config), Code::kPermissionDenied, "revoked or replaced");
}

TEST_F(DoorTest, ExpiredCertificatesAreRefused) {
  EXPECT_FALSE(can_connect(rig_.certified(rig_.authority(), WorkerId(0), rig_.now() - 3 * kDayS)));
  // The door has a clock of its own, for connections that outlive a certificate.
  const LinkConfig config = rig_.enrolled();
  const auto link = make_grpc_link(config);
  EXPECT_TRUE(link->describe(rig_.peers().describe_request()).ok());
  rig_.advance(2 * kDayS);
  const Status late = link->describe(rig_.peers().describe_request()).status();
  EXPECT_TRUE(absl::IsPermissionDenied(late)) << late;
}

TEST_F(DoorTest, ARevokedWorkerIsRefusedFromItsNextCallOn) {
  const LinkConfig config = rig_.enrolled();
  const auto link = make_grpc_link(config);
  EXPECT_TRUE(link->describe(rig_.peers().describe_request()).ok());
  ASSERT_TRUE(rig_.admission().revoke(WorkerId(config.worker)).ok());
  const Status refused = link->describe(rig_.peers().describe_request()).status();
  expect_refusal(refused, Code::kPermissionDenied, "revoked");
}

TEST_F(DoorTest, SecretsOpenOnceAndSoundTheSame) {
  const auto enrol = [&](const std::string& secret) {
    v1::EnrolRequest request;
    request.set_secret(secret);
    request.set_csr_pem(make_request());
    return enrol_over_grpc(rig_.stranger(), request).status();
  };
  const std::string secret = rig_.invite();
  EXPECT_TRUE(enrol(secret).ok());
  const Status used = enrol(secret);
  expect_refusal(used, Code::kPermissionDenied, "[");
  EXPECT_EQ(enrol(std::string(32, 'a')), used);
  EXPECT_EQ(std::string(used.message()).find(secret), std::string::npos);
  v1::EnrolRequest request;
  request.set_secret(rig_.invite());
  request.set_csr_pem("no request");
  const Status no_request = enrol_over_grpc(rig_.stranger(), request).status();
  expect_refusal(no_request, Code::kInvalidArgument, "want one PEM block CERTIFICATE REQUEST");
}

// ---- calls that cannot be

class CallTest : public testing::Test {
 protected:
  static GrpcRigOptions options() {
    GrpcRigOptions options;
    options.server.answer_time = 3 * kNanosPerSecond / 2;
    options.server.stall_time = 3 * kNanosPerSecond / 2;
    options.peers.reception.data_directory = "/data";
    options.peers.reception.files.emplace_back().set_name("big");
    return options;
  }
  CallTest() : rig_(options()) {
    RUBATO_CHECK(rig_.peers().files().make_directories("/data").ok());
    RUBATO_CHECK(rig_.peers().files().replace_file("/data/big", std::string(32 * kMib, 'x')).ok());
    const LinkConfig config = rig_.enrolled();
    grpc::SslCredentialsOptions credentials;
    credentials.pem_root_certs = config.ca_pem;
    credentials.pem_cert_chain = config.certificate_pem;
    credentials.pem_private_key = config.key_pem;
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("rubato-coordinator");
    const auto channel =
        grpc::CreateCustomChannel(config.address, grpc::SslCredentials(credentials), arguments);
    control_ = v1::Control::NewStub(channel);
    exchange_ = v1::Exchange::NewStub(channel);
  }
  // What a session of these messages ends with.
  Status attend(const std::vector<v1::FromWorker>& messages) {
    grpc::ClientContext context;
    const auto stream = control_->Attend(&context);
    for (const v1::FromWorker& message : messages) stream->Write(message);
    v1::ToWorker ignored;
    while (stream->Read(&ignored)) continue;
    return from_grpc(stream->Finish());
  }
  v1::FromWorker hello() {
    v1::FromWorker message;
    *message.mutable_hello() = rig_.peers().hello();
    return message;
  }

  GrpcRig rig_;
  std::unique_ptr<v1::Control::Stub> control_;
  std::unique_ptr<v1::Exchange::Stub> exchange_;
};

TEST_F(CallTest, ASessionThatBreaksTheProtocolIsToldSo) {
  v1::FromWorker heartbeat;
  heartbeat.mutable_heartbeat()->set_sent_ns(1);
  expect_refusal(attend({heartbeat}), Code::kInvalidArgument, "[session] got no hello");
  expect_refusal(attend({hello(), hello()}), Code::kInvalidArgument, "a second hello");
  expect_refusal(attend({hello(), v1::FromWorker()}), Code::kInvalidArgument, "[session]");
  v1::FromWorker other = hello();
  other.mutable_hello()->set_recipe_digest(std::string(32, 'f'));
  expect_refusal(attend({other}), Code::kFailedPrecondition, "recipe_digest");
}

TEST_F(CallTest, APushThatBreaksTheProtocolIsToldSo) {
  const auto push = [&](const std::vector<v1::PushPart>& parts) {
    grpc::ClientContext context;
    v1::PushReply reply;
    const auto writer = exchange_->Push(&context, &reply);
    for (const v1::PushPart& part : parts) writer->Write(part);
    writer->WritesDone();
    return from_grpc(writer->Finish());
  };
  v1::PushPart header, chunk;
  grpc::ClientContext context;
  const auto stream = control_->Attend(&context);
  stream->Write(hello());
  v1::ToWorker message;
  while (stream->Read(&message) && !message.has_dispatch()) continue;
  const PeerDelta delta = rig_.peers().delta(message.dispatch().task());
  *header.mutable_header() = delta.header;
  *chunk.mutable_chunk() = message_of(PeerRig::chunk_of(delta.encoded, 0, 128));
  expect_refusal(push({}), Code::kInvalidArgument, "[push] got no header");
  expect_refusal(push({chunk}), Code::kInvalidArgument, "[push] got no header");
  expect_refusal(push({header, header}), Code::kInvalidArgument, "[exchange] got a second header");
  expect_refusal(push({header}), Code::kInvalidArgument, "the end behind 0 bytes");
  v1::PushPart giant = chunk;
  giant.mutable_chunk()->set_data(std::string(5 * kMib, 'x'));
  EXPECT_FALSE(push({header, giant}).ok());
  EXPECT_TRUE(push({header, chunk}).ok());
  context.TryCancel();
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(CallTest, CallsThatSayNothingEnd) {
  grpc::ClientContext attending;
  const auto stream = control_->Attend(&attending);
  v1::ToWorker message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_FALSE(stream->Finish().ok());
  grpc::ClientContext pushing;
  v1::PushReply reply;
  EXPECT_FALSE(exchange_->Push(&pushing, &reply)->Finish().ok());
}

TEST_F(CallTest, AnUploadThatStallsEnds) {
  grpc::ClientContext attending;
  const auto session = control_->Attend(&attending);
  session->Write(hello());
  v1::ToWorker message;
  while (session->Read(&message) && !message.has_dispatch()) continue;
  const PeerDelta delta = rig_.peers().delta(message.dispatch().task());
  grpc::ClientContext pushing;
  v1::PushReply reply;
  const auto writer = exchange_->Push(&pushing, &reply);
  v1::PushPart part;
  *part.mutable_header() = delta.header;
  EXPECT_TRUE(writer->Write(part));
  *part.mutable_chunk() = message_of(PeerRig::chunk_of(delta.encoded, 0, 64));
  EXPECT_TRUE(writer->Write(part));
  EXPECT_FALSE(writer->Finish().ok());
  // What came stays, and the next one goes on from there.
  v1::PushOffsetRequest request;
  request.set_task(delta.header.task());
  grpc::ClientContext asking;
  v1::PushOffsetReply offset;
  EXPECT_TRUE(exchange_->PushOffset(&asking, request, &offset).ok());
  EXPECT_EQ(offset.offset(), 64);
  attending.TryCancel();
  EXPECT_FALSE(session->Finish().ok());
}

TEST_F(CallTest, ADownloadThatNobodyReadsEnds) {
  v1::FetchRequest request;
  request.set_file("big");
  grpc::ClientContext context;
  const auto reader = exchange_->Fetch(&context, request);
  v1::Chunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  std::this_thread::sleep_for(std::chrono::seconds(4));
  int64_t bytes = 0;
  while (reader->Read(&chunk)) bytes += std::ssize(chunk.data());
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_LT(bytes, 31 * kMib);
}

TEST_F(CallTest, OneWorkerHasSoManyCallsAndOthersHaveTheirs) {
  HonestWorker honest(rig_);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::Chunk>>> readers;
  v1::FetchRequest request;
  request.set_file("big");
  int refused = 0;
  for (int i = 0; i < 16; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(exchange_->Fetch(contexts.back().get(), request));
  }
  EXPECT_TRUE(honest.gets_done(20));
  for (const auto& reader : readers) {
    v1::Chunk chunk;
    while (reader->Read(&chunk)) continue;
    const Status status = from_grpc(reader->Finish());
    refused += absl::IsResourceExhausted(status);
  }
  EXPECT_GE(refused, 16 - ServerConfig().most_calls_per_worker);
  EXPECT_TRUE(honest.gets_done(20));
}

// ---- peers that speak no protocol at all

// Connections to the server, closed at the end.
class Connections {
 public:
  explicit Connections(int port) : port_(port) { std::signal(SIGPIPE, SIG_IGN); }
  ~Connections() {
    for (const int socket : sockets_) ::close(socket);
  }
  void open(std::string_view first_bytes = "") {
    const int peer = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(peer, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    sockets_.push_back(peer);
    if (!first_bytes.empty()) ::send(peer, first_bytes.data(), first_bytes.size(), MSG_NOSIGNAL);
  }

 private:
  int port_;
  std::vector<int> sockets_;
};

// The first bytes of a handshake that never goes on: a record of a ClientHello of 512 bytes.
const std::string kHalfHello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);

class SilentPeersTest : public testing::TestWithParam<const char*> {
 protected:
  std::string first_bytes(Rng& draws) const {
    const std::string_view manner = GetParam();
    if (manner == "stalled") return kHalfHello;
    if (manner == "http") return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if (manner != "garbage") return "";
    std::string bytes(1 + draws.below(4000), ' ');
    for (char& byte : bytes) byte = static_cast<char>(draws.below(256));
    return bytes;
  }
};

TEST_P(SilentPeersTest, LeaveAnHonestWorkerAlone) {
  GrpcRig rig;
  HonestWorker honest(rig);
  ASSERT_TRUE(honest.gets_done(50));
  const int64_t threads = thread_count();
  [[maybe_unused]] const int64_t memory = resident_bytes();
  Rng draws(5, RngStream::kTest);
  Connections peers(rig.port());
  for (int i = 0; i < 200; ++i) {
    peers.open(first_bytes(draws));
    if (i % 20 != 0) continue;
    EXPECT_TRUE(honest.gets_done(5));
  }
  EXPECT_TRUE(honest.gets_done(100));
  // gRPC keeps a few threads that wait for work.
  EXPECT_LE(thread_count(), threads + 16);
#ifndef RUBATO_SANITIZED  // a sanitizer keeps what was freed
  EXPECT_LE(resident_bytes(), memory + 128 * kMib);
#endif
}

INSTANTIATE_TEST_SUITE_P(Manners, SilentPeersTest,
                         testing::Values("silent", "stalled", "http", "garbage"),
                         [](const auto& manner) { return std::string(manner.param); });

// The same garbage where no TLS stands in front of HTTP/2.
TEST(PlainTextPeers, LeaveTheServerAlone) {
  PeerRig peers;
  Authority authority = Authority::create_or_load(peers.files(), "/run", kNow).value();
  const auto admission = Admission::open(peers.files(), "/run").value();
  Gatekeeper gatekeeper(authority, *admission, true, [] { return kNow; });
  ServerConfig config;
  config.listen = "127.0.0.1:0";
  const auto server = listen_grpc(config, peers.reception(), gatekeeper).value();
  Rng draws(6, RngStream::kTest);
  Connections connections(server->port());
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  for (int i = 0; i < 100; ++i) {
    std::string bytes = i % 3 == 0 ? "" : preface + (i % 3 == 1 ? settings : "");
    for (uint64_t left = draws.below(2000); left > 0; --left)
      bytes += static_cast<char>(draws.below(256));
    connections.open(bytes);
  }
  LinkConfig link;
  link.address = cat("127.0.0.1:", server->port());
  const Status status = make_grpc_link(link)->describe(peers.describe_request()).status();
  expect_refusal(status, Code::kUnauthenticated, "[door]");
  link.worker = 0;
  link.token = "feed";
  EXPECT_TRUE(
      absl::IsUnauthenticated(make_grpc_link(link)->describe(peers.describe_request()).status()));
}

}  // namespace
}  // namespace rubato
