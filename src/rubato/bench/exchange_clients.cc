#include "rubato/bench/exchange_clients.h"

#include <algorithm>
#include <barrier>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include <unistd.h>

#include "rubato/base/digest.h"
#include "rubato/base/layout.h"
#include "rubato/bench/bare_tcp.h"
#include "rubato/bench/forked.h"
#include "rubato/bench/timing.h"
#include "rubato/rpc/bare_stream.h"
#include "rubato/rpc/courier.h"
#include "rubato/rpc/grpc_link.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

constexpr int kLeastRounds = 2;

// What all workers share.
struct Common {
  const ExchangeSetting& setting;
  std::shared_ptr<const Codec> up, down;
  v1::Codec up_name, down_name;
  v1::RunDescription run;
  Encoding delta;
};

StatusOr<v1::RunDescription> describe(CoordinatorLink& link) {
  v1::DescribeRequest request;
  request.mutable_protocol()->set_first(kProtocolFirst);
  request.mutable_protocol()->set_last(kProtocolLast);
  return link.describe(request);
}

v1::Hello hello_of(const v1::RunDescription& run, const Codec& up, const Codec& down) {
  v1::Hello hello;
  hello.mutable_protocol()->set_first(kProtocolFirst);
  hello.mutable_protocol()->set_last(kProtocolLast);
  hello.set_run(run.run());
  hello.set_incarnation(run.incarnation());
  hello.set_recipe_digest(run.recipe_digest());
  hello.set_layout_digest("bench");
  hello.add_up_codecs(up.name());
  hello.add_down_codecs(down.name());
  hello.set_ns_per_step(kNanosPerSecond / 1000);
  return hello;
}

// One worker: the links it measures, and its task.
class Client {
 public:
  Client(const Common& common, const LinkConfig& identity, const ExchangeBoard& board)
      : common_(common), values_(static_cast<size_t>(common.setting.num_params)) {
    const auto at = [&](int port) {
      LinkConfig config = identity;
      config.address = cat("127.0.0.1:", port);
      return config;
    };
    environment_.clock = now_ns;
    environment_.note = [](const Notice&) {};
    environment_.patience = 60 * kNanosPerSecond;
    environment_.pacer = std::make_shared<LinkPacer>(now_ns);
    link_ = make_grpc_link(at(board.port));
    bare_ = make_bare_link(at(board.bare_port));
    courier_.emplace(*link_, environment_);
    tcp_port_ = board.tcp_port;
  }

  Status join() {
    RUBATO_ASSIGN_OR_RETURN(TcpLink tcp, TcpLink::connect(tcp_port_));
    tcp_.emplace(std::move(tcp));
    attendance_.emplace(*link_, hello_of(common_.run, *common_.up, *common_.down),
                        common_.run.heartbeat_interval_ns(), environment_);
    RUBATO_RETURN_IF_ERROR(attendance_->wait_for_welcome().status());
    // The first bytes of a connection pay for its making.
    RUBATO_RETURN_IF_ERROR(bare_->upload(kChunkBytes));
    return take_task();
  }

  Status push() {
    RUBATO_ASSIGN_OR_RETURN(
        const UpdateVerdict verdict,
        courier_->push(header_, common_.delta, *common_.up, [] { return true; }));
    if (verdict.kind == UpdateVerdict::Kind::kApplied) return absl::OkStatus();
    return absl::InternalError("[bench] got a delta that does not count");
  }
  /// What follows a push, outside the measured time.
  Status take_task() {
    if (task_ >= 0) attendance_->forget(task_);
    const std::optional<v1::Task> task = attendance_->next_task();
    if (!task) return annotate(attendance_->end(), "no task");
    task_ = task->id();
    version_ = task->fragments(0).base_version();
    header_.set_task(task_);
    header_.set_incarnation(common_.run.incarnation());
    *header_.mutable_codec() = common_.up_name;
    header_.set_bytes(std::ssize(*common_.delta));
    header_.set_digest(digest_of(std::string_view(
        reinterpret_cast<const char*>(common_.delta->data()), common_.delta->size())));
    header_.set_steps_done(task->steps());
    header_.set_tokens(task->steps());
    header_.set_train_ns(kNanosPerSecond / 1000);
    return absl::OkStatus();
  }
  Status fetch() {
    return courier_->fetch_parameters(version_, *common_.down, common_.down_name, values_,
                                      [] { return true; });
  }
  BareLink& bare() { return *bare_; }
  TcpLink& tcp() { return *tcp_; }

 private:
  const Common& common_;
  WorkerEnvironment environment_;
  std::vector<float> values_;
  std::unique_ptr<CoordinatorLink> link_;
  std::unique_ptr<BareLink> bare_;
  int tcp_port_ = 0;
  std::optional<TcpLink> tcp_;
  std::optional<Attendance> attendance_;
  std::optional<Courier> courier_;
  int64_t task_ = -1, version_ = 0;
  v1::DeltaHeader header_;
};

using Clients = std::vector<std::unique_ptr<Client>>;

struct Effort {
  double wall_s = 0, cpu_s = 0;  // cpu: of both processes
};

double to_s(int64_t ns) { return static_cast<double>(ns) * 1e-9; }

// Transfers of all clients at the same time, from their start until the last is done.
class Rounds {
 public:
  using Transfer = std::function<Status(Client&)>;
  Rounds(Clients& clients, pid_t server, const ExchangeBoard& board)
      : clients_(clients), server_(server), board_(board) {}

  StatusOr<ExchangeRound> push(int64_t bytes) {
    const int64_t server_cpu_ns = cpu_ns(server_);
    RUBATO_ASSIGN_OR_RETURN(const Effort answered, together([](Client& c) { return c.push(); }));
    ExchangeRound round;
    round.ours_s = to_s(board_.arrived_ns - began_ns_);
    round.settle_s = answered.wall_s - round.ours_s;
    // What the server computes from there on is settling, too.
    round.ours_cpu_s = answered.cpu_s - to_s(cpu_after_ns_ - server_cpu_ns) +
                       to_s(board_.arrived_cpu_ns - server_cpu_ns);
    RUBATO_RETURN_IF_ERROR(together([](Client& c) { return c.take_task(); }).status());
    RUBATO_RETURN_IF_ERROR(limits(
        round, [&](Client& c) { return c.bare().upload(bytes); },
        [&](Client& c) { return c.tcp().upload(bytes); }));
    return round;
  }

  StatusOr<ExchangeRound> fetch(int64_t bytes) {
    RUBATO_ASSIGN_OR_RETURN(const Effort fetched, together([](Client& c) { return c.fetch(); }));
    ExchangeRound round;
    round.ours_s = fetched.wall_s;
    round.ours_cpu_s = fetched.cpu_s;
    RUBATO_RETURN_IF_ERROR(limits(
        round, [&](Client& c) { return c.bare().download(bytes); },
        [&](Client& c) { return c.tcp().download(bytes); }));
    return round;
  }

  StatusOr<Effort> together(const Transfer& transfer) {
    std::barrier start(std::ssize(clients_) + 1);
    std::vector<Status> results(clients_.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < clients_.size(); ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        results[i] = transfer(*clients_[i]);
      });
    }
    const int64_t cpu_before_ns = cpu_ns(::getpid()) + cpu_ns(server_);
    began_ns_ = now_ns();
    start.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    Effort effort;
    effort.wall_s = to_s(now_ns() - began_ns_);
    cpu_after_ns_ = cpu_ns(server_);
    effort.cpu_s = to_s(cpu_ns(::getpid()) + cpu_after_ns_ - cpu_before_ns);
    for (const Status& result : results) RUBATO_RETURN_IF_ERROR(result);
    return effort;
  }

 private:
  Status limits(ExchangeRound& round, const Transfer& bare, const Transfer& tcp) {
    RUBATO_ASSIGN_OR_RETURN(const Effort over_grpc, together(bare));
    RUBATO_ASSIGN_OR_RETURN(const Effort over_tcp, together(tcp));
    round.limit_s = over_grpc.wall_s;
    round.limit_cpu_s = over_grpc.cpu_s;
    round.tcp_s = over_tcp.wall_s;
    return absl::OkStatus();
  }

  Clients& clients_;
  pid_t server_;
  const ExchangeBoard& board_;
  int64_t began_ns_ = 0, cpu_after_ns_ = 0;  // of the last transfers
};

Status measure(ExchangeFigure& figure, double seconds, pid_t server,
               const std::function<StatusOr<ExchangeRound>()>& make_round) {
  // The first round warms up.
  RUBATO_RETURN_IF_ERROR(make_round().status());
  const double began = now_s();
  while (figure.rounds < kMostRounds &&
         (figure.rounds < kLeastRounds || now_s() - began < seconds)) {
    RUBATO_ASSIGN_OR_RETURN(figure.round[figure.rounds], make_round());
    ++figure.rounds;
    figure.server_memory_bytes = std::max(figure.server_memory_bytes, private_memory_bytes(server));
  }
  return absl::OkStatus();
}

Encoding make_delta(const Codec& codec, int64_t num_params) {
  std::vector<float> values(static_cast<size_t>(num_params));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 1e-6f * static_cast<float>(static_cast<int>(i % 1009) - 504);
  auto encoded = std::make_shared<std::vector<std::byte>>(
      static_cast<size_t>(codec.encoded_bytes(num_params)));
  codec.encode(values, *encoded);
  return encoded;
}

}  // namespace

Status measure_exchange(const ExchangeSetting& setting, const std::vector<LinkConfig>& identities,
                        bool fetches, double seconds, pid_t server, ExchangeBoard& board,
                        ExchangeFigures& figures) {
  Common common{.setting = setting,
                .up = nullptr,
                .down = nullptr,
                .up_name = {},
                .down_name = {},
                .run = {},
                .delta = nullptr};
  common.up_name.set_name(setting.up_codec);
  common.down_name.set_name(setting.down_codec);
  RUBATO_ASSIGN_OR_RETURN(common.up, codec_from_proto(common.up_name));
  RUBATO_ASSIGN_OR_RETURN(common.down, codec_from_proto(common.down_name));
  common.delta = make_delta(*common.up, setting.num_params);
  {
    LinkConfig config = identities[0];
    config.address = cat("127.0.0.1:", board.port.load());
    RUBATO_ASSIGN_OR_RETURN(common.run, describe(*make_grpc_link(config)));
  }
  Clients clients;
  for (const LinkConfig& identity : identities)
    clients.push_back(std::make_unique<Client>(common, identity, board));
  Rounds rounds(clients, server, board);
  RUBATO_RETURN_IF_ERROR(rounds.together([](Client& c) { return c.join(); }).status());
  const int64_t up_bytes = std::ssize(*common.delta);
  const int64_t down_bytes = common.down->encoded_bytes(setting.num_params);
  figures.push.bytes = up_bytes;
  figures.fetch.bytes = down_bytes;
  RUBATO_RETURN_IF_ERROR(
      measure(figures.push, seconds, server, [&] { return rounds.push(up_bytes); }));
  if (!fetches) return absl::OkStatus();
  return measure(figures.fetch, seconds, server, [&] { return rounds.fetch(down_bytes); });
}

}  // namespace rubato
