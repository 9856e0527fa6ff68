#include "rubato/rpc/reception.h"

#include <algorithm>
#include <tuple>

#include "rubato/rpc/founding.h"

namespace rubato {
namespace {

constexpr Nanos kLongestRoundTrip = 3600 * kNanosPerSecond;

Status wrong(std::string_view who, std::string_view what, std::string_view got,
             std::string_view want) {
  return absl::InvalidArgumentError(cat("[", who, "] ", what, ": got ", got, ", want ", want));
}

Status too_often(std::string_view who, WorkerId worker, std::string_view what, const Rate& rate) {
  return absl::ResourceExhaustedError(cat("[", who, "] got more than ", rate.burst, " ", what,
                                          " of worker ", worker, " in a row, want one every ",
                                          to_seconds(rate.interval), " s; try again later"));
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

StatusOr<std::unique_ptr<Reception>> Reception::make(Cluster& cluster, ReceptionConfig config) {
  RUBATO_ASSIGN_OR_RETURN(
      CodecAgreement codecs,
      CodecAgreement::make(cluster.config().machine, cluster.config().script.has_value()));
  return std::unique_ptr<Reception>(new Reception(cluster, std::move(config), std::move(codecs)));
}

// ---- control

Status Reception::check_memory(int64_t bytes) const {
  if (bytes < 0) return wrong("hello", "memory_bytes", cat(bytes), "0 or more");
  if (bytes == 0 || config_.worker_memory_bytes <= bytes) return absl::OkStatus();
  constexpr double kGib = 1 << 30;
  return absl::ResourceExhaustedError(
      cat("[memory] got ", static_cast<double>(bytes) / kGib, " GiB at the worker, want ",
          static_cast<double>(config_.worker_memory_bytes) / kGib, " GiB for ",
          cluster_.num_params(), " parameters; use a machine with more, or a smaller model"));
}

StatusOr<v1::RunDescription> Reception::describe(const v1::DescribeRequest& request) const {
  RUBATO_ASSIGN_OR_RETURN(const int protocol, common_protocol(request.protocol()));
  RUBATO_RETURN_IF_ERROR(check_text("describe", "build", request.build()));
  RUBATO_RETURN_IF_ERROR(check_memory(request.memory_bytes()));
  v1::RunDescription description;
  description.set_protocol(protocol);
  description.set_run(cluster_.identity().run);
  description.set_incarnation(cluster_.identity().incarnation);
  description.set_build(cluster_.config().build_id);
  description.set_recipe_toml(config_.recipe_toml);
  description.set_recipe_digest(cluster_.config().digests.recipe);
  *description.mutable_layout() = to_proto(cluster_.layout());
  description.set_tokenizer_digest(config_.tokenizer_digest);
  description.set_data_digest(cluster_.config().digests.data);
  for (const v1::RunFile& file : config_.files) *description.add_files() = file;
  description.set_memory_bytes(config_.worker_memory_bytes);
  description.set_heartbeat_interval_ns(config_.heartbeat_interval);
  description.set_lease_ns(cluster_.config().lease);
  description.set_virtual_clock(cluster_.config().script.has_value());
  // The two enumerations have the same order.
  description.set_overlap(
      static_cast<v1::RunDescription::Overlap>(cluster_.config().machine.coordinator.overlap));
  return description;
}

Status Reception::check_hello(const v1::Hello& hello) const {
  RUBATO_RETURN_IF_ERROR(common_protocol(hello.protocol()).status());
  RUBATO_RETURN_IF_ERROR(check_text("hello", "build", hello.build()));
  RUBATO_RETURN_IF_ERROR(check_memory(hello.memory_bytes()));
  const RunIdentity& run = cluster_.identity();
  if (hello.run() != run.run || hello.incarnation() != run.incarnation) {
    RUBATO_RETURN_IF_ERROR(check_text("hello", "run", hello.run()));
    return absl::FailedPreconditionError(
        cat("[hello] got run ", hello.run(), ".", hello.incarnation(), ", want ", run.run, ".",
            run.incarnation, "; ask what the run is and begin anew"));
  }
  const std::tuple<const char*, const std::string*, std::string> digests[] = {
      {"recipe_digest", &hello.recipe_digest(), cluster_.config().digests.recipe},
      {"layout_digest", &hello.layout_digest(), cluster_.config().digests.layout},
      {"tokenizer_digest", &hello.tokenizer_digest(), config_.tokenizer_digest}};
  for (const auto& [name, got, want] : digests) {
    if (*got == want) continue;
    RUBATO_RETURN_IF_ERROR(check_text("hello", name, *got));
    return absl::FailedPreconditionError(cat("[hello] ", name, ": got ", *got, ", want ", want,
                                             "; bring both sides to one release"));
  }
  if (hello.ns_per_step() < 0)
    return wrong("hello", "ns_per_step", cat(hello.ns_per_step()), "0 or more");
  constexpr int kMostHeld = 64;
  if (hello.held_tasks_size() > kMostHeld)
    return wrong("hello", "held_tasks", cat(hello.held_tasks_size()), cat("at most ", kMostHeld));
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<Session>> Reception::attend(WorkerId worker, const v1::Hello& hello) {
  RUBATO_RETURN_IF_ERROR(check_hello(hello));
  RUBATO_ASSIGN_OR_RETURN(const SessionCodecs codecs, codecs_.agree(hello));
  if (!hellos_.take(worker, cluster_.clock()))
    return too_often("hello", worker, "hellos", config_.hellos);
  WorkerHello facts{.ns_per_step = hello.ns_per_step(), .has_state = hello.has_state(), .held = {}};
  for (const int64_t task : hello.held_tasks()) facts.held.push_back(TaskId(task));
  keep_agreed(worker, codecs);
  const Cluster::Seat seat = cluster_.attend(worker, facts);
  v1::ToWorker message;
  v1::Welcome& welcome = *message.mutable_welcome();
  welcome.set_worker(worker.value());
  *welcome.mutable_up_codec() = codecs.up.name;
  *welcome.mutable_down_codec() = codecs.down.name;
  for (const Task& task : seat.tasks) *welcome.add_tasks() = to_proto(task, cluster_.num_params());
  std::shared_ptr<LinkPacer> pacer;
  if (hello.tells_round_trip()) {
    pacer = std::make_shared<LinkPacer>([this] { return cluster_.clock(); });
    const std::lock_guard lock(sessions_mutex_);
    std::erase_if(pacers_, [](const auto& entry) { return entry.second.expired(); });
    pacers_[worker] = pacer;
  }
  return std::make_unique<Session>(cluster_, worker, std::move(message), seat.box,
                                   std::move(pacer));
}

// A delta may come between two sessions, so what was agreed stays until the next hello.
void Reception::keep_agreed(WorkerId worker, const SessionCodecs& codecs) {
  {
    const std::lock_guard lock(sessions_mutex_);
    agreed_[worker] = codecs;
  }
  const std::string &up = codecs.up.name.name(), &down = codecs.down.name.name();
  const SessionCodecs& preferred = codecs_.preferred();
  if (up == preferred.up.name.name() && down == preferred.down.name.name()) return;
  cluster_.say({.event = "codec",
                .text = cat("worker ", worker, " sends ", up, " and receives ", down,
                            "; it cannot use all of the recipe's, ", preferred.up.name.name(),
                            " and ", preferred.down.name.name()),
                .facts = {{"worker", worker.value()}, {"up", up}, {"down", down}}});
}

// A worker comes back to a coordinator that was away with a delta that it encoded before: who has
// not said hello since is asked for it, unless the codec is the recipe's anyhow.
StatusOr<SessionCodecs> Reception::agreed_with(WorkerId worker,
                                               const v1::DeltaHeader& header) const {
  const std::lock_guard lock(sessions_mutex_);
  if (const auto it = agreed_.find(worker); it != agreed_.end()) return it->second;
  if (header.codec().name() == codecs_.preferred().up.name.name()) return codecs_.preferred();
  return absl::UnavailableError(
      "[push] got a delta of a worker that has not attended since the coordinator came up, want "
      "its hello first; try again");
}

Status Session::receive(const v1::FromWorker& message) {
  cluster_.heard_from(worker_);
  switch (message.message_case()) {
    case v1::FromWorker::kHeartbeat: {
      const Nanos round_trip = message.heartbeat().round_trip_ns();
      const Nanos age = message.heartbeat().round_trip_age_ns();
      if (pacer_ && round_trip > 0) {
        if (round_trip > kLongestRoundTrip || age < 0 || age > kLongestRoundTrip)
          return wrong("heartbeat", "a round trip", cat(round_trip, " ns, ", age, " ns ago"),
                       "at most an hour");
        pacer_->measured(round_trip, age);
      }
      v1::ToWorker answer;
      answer.mutable_heartbeat_ack()->set_sent_ns(message.heartbeat().sent_ns());
      box_->put(std::move(answer));
      return absl::OkStatus();
    }
    case v1::FromWorker::kLeave:
      RUBATO_RETURN_IF_ERROR(check_text("leave", "reason", message.leave().reason()));
      cluster_.leave(worker_);
      return absl::CancelledError("the worker said goodbye");
    case v1::FromWorker::kWant:
      cluster_.want(worker_, TaskId(message.want().behind()));
      return absl::OkStatus();
    case v1::FromWorker::kHello:
      return wrong("session", "a message", "a second hello", "heartbeats or a goodbye");
    case v1::FromWorker::MESSAGE_NOT_SET:
      return wrong("session", "a message", "nothing this build knows", "heartbeats or a goodbye");
  }
  return absl::OkStatus();
}

// ---- down

StatusOr<Fetch> Reception::fetch(WorkerId worker, const v1::FetchRequest& request) const {
  Fetch fetch;
  fetch.gauges_ = &cluster_.gauges();
  {
    const std::lock_guard lock(sessions_mutex_);
    if (const auto it = pacers_.find(worker); it != pacers_.end()) fetch.pacer_ = it->second.lock();
  }
  fetch.offset_ = request.offset();
  if (request.what_case() == v1::FetchRequest::kFile) {
    const auto it = std::ranges::find(config_.files, request.file(), &v1::RunFile::name);
    if (it == config_.files.end()) {
      RUBATO_RETURN_IF_ERROR(check_text("fetch", "file", request.file()));
      return absl::NotFoundError(
          cat("[fetch] got file ", request.file(), ", want one of the description"));
    }
    RUBATO_ASSIGN_OR_RETURN(fetch.view_,
                            cluster_.files().map(join_path(config_.data_directory, it->name())));
    fetch.bytes_ = fetch.view_.bytes;
    fetch.total_ = std::ssize(fetch.bytes_);
  } else if (request.what_case() == v1::FetchRequest::kVersion) {
    RUBATO_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> down,
                            codecs_.find_down(request.codec()));
    RUBATO_ASSIGN_OR_RETURN(const PublishedVersion version,
                            cluster_.versions().read(Version(request.version())));
    fetch.view_ = version.file;
    fetch.floats_ = version.values;
    if (down->is_verbatim()) {
      fetch.bytes_ = {reinterpret_cast<const char*>(version.values.data()),
                      version.values.size_bytes()};
    } else {
      fetch.codec_ = down;
    }
    fetch.total_ = down->encoded_bytes(cluster_.num_params());
    fetch.block_bytes_ = down->block_bytes();
    if (fetch.offset_ % down->block_bytes() != 0 && fetch.offset_ != fetch.total_)
      return wrong("fetch", "offset", cat(fetch.offset_),
                   cat("a multiple of ", down->block_bytes()));
  } else {
    return wrong("fetch", "what", "nothing", "a version or a file");
  }
  if (fetch.offset_ < 0 || fetch.offset_ > fetch.total_)
    return wrong("fetch", "offset", cat(fetch.offset_), cat("0 to ", fetch.total_));
  return fetch;
}

bool Fetch::next(Chunk& chunk) {
  if (offset_ >= total_) return false;
  const int64_t step = piece_bytes(pacer_.get(), block_bytes_, kChunkBytes);
  const int64_t bytes = std::min(step, total_ - offset_);
  if (codec_) {
    const BufferPool::Buffer encoding = encodings_.take(static_cast<size_t>(bytes));
    const int64_t first = offset_ / codec_->block_bytes() * codec_->block_values();
    const int64_t count = std::min(step / codec_->block_bytes() * codec_->block_values(),
                                   static_cast<int64_t>(floats_.size()) - first);
    codec_->encode(floats_.subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
                   *encoding);
    chunk = make_chunk(offset_, total_, text_of(*encoding), encoding);
  } else {
    const auto data = bytes_.substr(static_cast<size_t>(offset_), static_cast<size_t>(bytes));
    chunk = make_chunk(offset_, total_, data, view_.owner);
  }
  offset_ += bytes;
  gauges_->sent_bytes += bytes;
  if (pacer_) pacer_->wait_for_turn(bytes);
  return true;
}

// ---- up

StatusOr<v1::PushOffsetReply> Reception::push_offset(WorkerId worker,
                                                     const v1::PushOffsetRequest& request) const {
  v1::PushOffsetReply reply;
  const TaskId task(request.task());
  const bool is_awaited = request.incarnation() == cluster_.identity().incarnation &&
                          !cluster_.answer_at_once(worker, task);
  reply.set_offset(is_awaited ? cluster_.spool().arrived_bytes(task) : 0);
  return reply;
}

Status Reception::check_header(const v1::DeltaHeader& header, const NamedCodec& agreed) const {
  if (header.incarnation() != cluster_.identity().incarnation) {
    return absl::FailedPreconditionError(cat("[push] got incarnation ", header.incarnation(),
                                             ", want ", cluster_.identity().incarnation,
                                             "; the run was rolled back, the delta is void"));
  }
  if (header.codec().name() != agreed.name.name())
    return wrong("push", "codec", header.codec().name(), agreed.name.name());
  RUBATO_RETURN_IF_ERROR(check_digest("push", "digest", header.digest()));
  const int64_t bytes = agreed.codec->encoded_bytes(cluster_.num_params());
  if (header.bytes() != bytes) return wrong("push", "bytes", cat(header.bytes()), cat(bytes));
  return absl::OkStatus();
}

// Once when the room ends, once when there is some again: uploads come back every few seconds.
void Reception::say_room(const Status& begun) {
  const bool is_full = absl::IsResourceExhausted(begun);
  if (is_full) cluster_.want_room();
  if (is_full_.exchange(is_full) == is_full) return;
  cluster_.say({.level = is_full ? Notice::Level::kWarning : Notice::Level::kInfo,
                .event = "quota",
                .text = is_full ? cat("uploads wait for room: ", begun.message())
                                : std::string("there is room for uploads again"),
                .facts = {{"spool_bytes", cluster_.spool().bytes_used()}}});
}

StatusOr<std::unique_ptr<Push>> Reception::push(WorkerId worker, const v1::DeltaHeader& header) {
  std::unique_ptr<Push> push(new Push(cluster_, refusals_));
  const bool is_empty = header.steps_done() == 0 && header.bytes() == 0 &&
                        header.incarnation() == cluster_.identity().incarnation;
  // What has no bytes has no codec either.
  StatusOr<SessionCodecs> codecs = codecs_.preferred();
  if (!is_empty) {
    RUBATO_RETURN_IF_ERROR(check_text("push", "codec", header.codec().name()));
    codecs = agreed_with(worker, header);
    RUBATO_RETURN_IF_ERROR(codecs.status());
    RUBATO_RETURN_IF_ERROR(check_header(header, codecs->up));
  }
  const std::string options = codec_options_text(codecs->up.name);
  push->worker_ = worker;
  push->codec_ = codecs->up.codec;
  push->claim_ = {.task = TaskId(header.task()),
                  .steps_done = header.steps_done(),
                  .tokens = header.tokens(),
                  .train_ns = header.train_ns(),
                  .notes = {.mean_loss = header.mean_loss(),
                            .last_lr = header.last_lr(),
                            .bytes_up = header.bytes(),
                            .bytes_down = codecs->down.codec->encoded_bytes(cluster_.num_params()),
                            .codec = is_empty ? "" : header.codec().name(),
                            .codec_options = is_empty ? "" : options}};
  if (const std::optional<UpdateVerdict> verdict =
          cluster_.answer_at_once(worker, push->claim_.task)) {
    push->answer_ = to_proto(*verdict);
    return push;
  }
  if (!refusals_.has(worker, cluster_.clock()))
    return too_often("push", worker, "refused deltas", config_.refusals);
  if (is_empty) return push;
  const DeltaMeta meta{.codec = header.codec().name(),
                       .codec_options = options,
                       .values = cluster_.num_params(),
                       .bytes = header.bytes(),
                       .digest = header.digest()};
  Spool& spool = cluster_.spool();
  StatusOr<SpoolUpload> upload = spool.begin(push->claim_.task, meta);
  say_room(upload.status());
  if (upload.ok()) {
    push->upload_.emplace(std::move(*upload));
  } else {
    if (!absl::IsAlreadyExists(upload.status())) return upload.status();
    // The other one's worker died before its event, or is somebody else.
    RUBATO_ASSIGN_OR_RETURN(const std::optional<UpdateVerdict> verdict,
                            cluster_.remove_untold(worker, push->claim_.task));
    if (verdict) {
      push->answer_ = to_proto(*verdict);
      return push;
    }
    RUBATO_ASSIGN_OR_RETURN(SpoolUpload again, spool.begin(push->claim_.task, meta));
    push->upload_.emplace(std::move(again));
  }
  push->offset_ = push->upload_->offset();
  push->measured_whole_ = push->offset_ == 0;
  return push;
}

StatusOr<std::unique_ptr<Found>> Reception::found(WorkerId, const v1::FoundHeader&) {
  return absl::AlreadyExistsError(
      "[founding] got a model for a run that has one, want none; ask what the run is");
}

// Norm and finiteness of what has come; a chunk that begins and ends where blocks do is an
// encoding.
Status Push::measure(int64_t offset, std::string_view bytes) {
  const int64_t block = codec_->block_bytes(), size = static_cast<int64_t>(bytes.size());
  const bool is_last = offset + size == claim_.notes.bytes_up;
  if (offset % block != 0 || (size % block != 0 && !is_last)) {
    return wrong("push", "a chunk", cat(size, " bytes at ", offset),
                 cat("one of whole blocks of ", block));
  }
  const int64_t first = offset / block * codec_->block_values();
  const int64_t whole = size / block * codec_->block_values();
  const int64_t count = is_last ? cluster_.num_params() - first : whole;
  const auto encoded = std::as_bytes(std::span(bytes));
  RUBATO_RETURN_IF_ERROR(codec_->check(encoded, count));
  // Whole blocks, few enough that their values stay in the nearest cache.
  const int64_t step =
      std::max<int64_t>(kBlockFloats / codec_->block_values(), 1) * codec_->block_values();
  for (int64_t at = 0; at < count; at += step) {
    scratch_.resize(static_cast<size_t>(std::min(step, count - at)));
    codec_->decode(encoded, at, scratch_);
    norm_.add(scratch_);
  }
  return absl::OkStatus();
}

Status Push::add(const Chunk& chunk) {
  if (!upload_) return wrong("push", "a chunk", "bytes of an empty delta", "none");
  RUBATO_RETURN_IF_ERROR(check_chunk(chunk, offset_, claim_.notes.bytes_up));
  if (measured_whole_) RUBATO_RETURN_IF_ERROR(measure(offset_, chunk.data));
  RUBATO_RETURN_IF_ERROR(upload_->append(offset_, chunk.data));
  offset_ += chunk.bytes();
  cluster_.gauges().received_bytes += chunk.bytes();
  cluster_.heard_from(worker_);
  return absl::OkStatus();
}

Status Push::measure_spooled() {
  RUBATO_ASSIGN_OR_RETURN(const SpooledDelta delta, cluster_.spool().read(claim_.task));
  const int64_t step =
      std::max<int64_t>(kChunkBytes / codec_->block_bytes(), 1) * codec_->block_bytes();
  norm_ = {};
  for (int64_t offset = 0; offset < claim_.notes.bytes_up; offset += step) {
    const Status status = measure(
        offset, delta.payload.substr(static_cast<size_t>(offset), static_cast<size_t>(step)));
    if (status.ok()) continue;
    // No encoder made these bytes: they are of no use to anybody.
    RUBATO_RETURN_IF_ERROR(cluster_.spool().remove(claim_.task));
    return status;
  }
  return absl::OkStatus();
}

StatusOr<v1::PushReply> Push::finish() {
  if (answer_) return *answer_;
  const auto delivery = cluster_.begin_delivery(claim_.task);
  if (upload_) {
    RUBATO_RETURN_IF_ERROR(upload_->commit());
    upload_.reset();
    if (!measured_whole_) RUBATO_RETURN_IF_ERROR(measure_spooled());
  }
  RUBATO_ASSIGN_OR_RETURN(const UpdateVerdict verdict,
                          cluster_.deliver(worker_, claim_, norm_.norm(), norm_.finite()));
  if (verdict.kind == UpdateVerdict::Kind::kRejected) refusals_.take(worker_, cluster_.clock());
  return to_proto(verdict);
}

}  // namespace rubato
