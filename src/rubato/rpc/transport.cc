#include "rubato/rpc/transport.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

namespace rubato {
namespace {

constexpr int kKeepaliveMs = 20'000;

// The library ends itself when its last object goes, and then may wait ten seconds for a poll that
// nobody needs any more. It is never ended: the end of the process is enough.
void keep_grpc() {
  static const bool kKept = (grpc_init(), true);
  static_cast<void>(kKept);
}

}  // namespace

std::shared_ptr<grpc::Channel> make_channel(const LinkConfig& config) {
  keep_grpc();
  grpc::ChannelArguments arguments;
  // Channels of equal arguments would share a connection otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (config.ca_pem.empty()) {
    return grpc::CreateCustomChannel(config.address, grpc::InsecureChannelCredentials(), arguments);
  }
  if (!config.server_name.empty()) arguments.SetSslTargetNameOverride(config.server_name);
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = config.ca_pem;
  options.pem_cert_chain = config.certificate_pem;
  options.pem_private_key = config.key_pem;
  return grpc::CreateCustomChannel(config.address, grpc::SslCredentials(options), arguments);
}

std::shared_ptr<grpc::ServerCredentials> server_credentials(const ServerConfig& config) {
  keep_grpc();
  if (config.certificate_pem.empty()) return grpc::InsecureServerCredentials();
  // Whoever shows a certificate must have one of ours; who has none can only enrol.
  grpc::SslServerCredentialsOptions options(
      config.wants_certificate ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                               : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = config.ca_pem;
  options.pem_key_cert_pairs.push_back({config.key_pem, config.certificate_pem});
  return grpc::SslServerCredentials(options);
}

}  // namespace rubato
