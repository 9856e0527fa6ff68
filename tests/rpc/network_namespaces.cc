#include "tests/rpc/network_namespaces.h"

#include <cstdlib>

#include <unistd.h>

#include "rubato/base/text.h"

namespace rubato {
namespace {

bool run(const std::string& command) {
  return std::system(cat(command, " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace

NetworkNamespaces::NetworkNamespaces(const std::string& rate)
    : coordinator_(cat("rubato-c-", ::getpid())), worker_(cat("rubato-w-", ::getpid())) {
  const std::string c = cat("ip -n ", coordinator_, " "), w = cat("ip -n ", worker_, " ");
  const std::string tbf = cat(" root tbf rate ", rate, " burst 32kb latency 400ms");
  made_ = run(cat("ip netns add ", coordinator_)) && run(cat("ip netns add ", worker_)) &&
          run(cat(c, "link add veth type veth peer name veth netns ", worker_)) &&
          run(cat(c, "addr add ", kCoordinatorHost, "/24 dev veth")) &&
          run(cat(w, "addr add 10.213.0.2/24 dev veth")) && run(cat(c, "link set veth up")) &&
          run(cat(w, "link set veth up")) && run(cat(c, "link set lo up")) &&
          run(cat(w, "link set lo up")) &&
          run(cat("tc -n ", coordinator_, " qdisc add dev veth", tbf)) &&
          run(cat("tc -n ", worker_, " qdisc add dev veth", tbf));
}

NetworkNamespaces::~NetworkNamespaces() {
  run(cat("ip netns del ", coordinator_));
  run(cat("ip netns del ", worker_));
}

}  // namespace rubato
