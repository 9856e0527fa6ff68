#include "rubato/rpc/courier.h"

#include <algorithm>
#include <thread>

#include "rubato/base/digest.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

// After a stop is asked for, a delta has this long to arrive: what is lost then is one task.
constexpr Nanos kFarewell = 10 * kNanosPerSecond;
constexpr Nanos kGlance = kNanosPerSecond / 20;

bool always() { return true; }

}  // namespace

Status Courier::persist(const std::function<Status()>& attempt,
                        const std::function<bool()>& is_wanted) {
  Backoff backoff;
  const Nanos began = environment_.clock();
  Nanos stopped_at = -1;
  for (;;) {
    const Status status = travel(attempt);
    if (status.ok() || !is_worth_another_try(status)) return status;
    Nanos now = environment_.clock();
    if (now - began > environment_.patience) return status;
    for (const Nanos until = now + backoff.next(); now < until; now = environment_.clock()) {
      if (!is_wanted()) return absl::AbortedError("[exchange] given up: nobody wants it any more");
      const bool stop = environment_.stop != nullptr && environment_.stop->load();
      if (stop && stopped_at < 0) stopped_at = now;
      if (stop && now - stopped_at > kFarewell) return status;
      std::this_thread::sleep_for(std::chrono::nanoseconds(kGlance));
    }
  }
}

Status Courier::travel(const std::function<Status()>& attempt) {
  const auto travelling =
      environment_.pacer ? environment_.pacer->travelling() : LinkPacer::Travelling();
  return attempt();
}

Status Courier::fetch_parameters(int64_t version, const Codec& codec, const v1::Codec& name,
                                 std::span<float> values, const std::function<bool()>& is_wanted) {
  const int64_t num_params = std::ssize(values);
  const int64_t total = codec.encoded_bytes(num_params);
  int64_t offset = 0;  // [bytes] decoded so far
  v1::FetchRequest request;
  request.set_version(version);
  *request.mutable_codec() = name;
  return persist(
      [&]() -> Status {
        request.set_offset(offset);
        RUBATO_RETURN_IF_ERROR(link_.fetch(request, [&](const Chunk& chunk) -> Status {
          RUBATO_RETURN_IF_ERROR(check_chunk(chunk, offset, total));
          const int64_t bytes = chunk.bytes();
          if (offset % codec.block_bytes() != 0)
            return absl::DataLossError("[exchange] got a chunk that cuts a block");
          const int64_t first = offset / codec.block_bytes() * codec.block_values();
          const int64_t count = std::min(
              (bytes + codec.block_bytes() - 1) / codec.block_bytes() * codec.block_values(),
              num_params - first);
          const auto encoded = std::as_bytes(std::span(chunk.data));
          RUBATO_RETURN_IF_ERROR(codec.check(encoded, count));
          codec.decode(encoded, 0,
                       values.subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
          offset += bytes;
          return absl::OkStatus();
        }));
        if (offset == total) return absl::OkStatus();
        return absl::DataLossError(cat("[exchange] got ", offset, " of ", total, " bytes"));
      },
      is_wanted);
}

Status Courier::fetch_file(const v1::RunFile& file, FileSystem& files, const std::string& path) {
  if (files.exists(path)) {
    RUBATO_ASSIGN_OR_RETURN(const FileView view, files.map(path));
    if (digest_of(view.bytes) == file.digest()) return absl::OkStatus();
  }
  const std::string part = path + ".part";
  RUBATO_RETURN_IF_ERROR(files.make_directories(parent_path(path)));
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> out, files.create(part));
  Digester digester;
  int64_t offset = 0;
  v1::FetchRequest request;
  request.set_file(file.name());
  Status local;  // an error of this machine: no use in trying again
  const Status status = persist(
      [&]() -> Status {
        request.set_offset(offset);
        RUBATO_RETURN_IF_ERROR(link_.fetch(request, [&](const Chunk& chunk) -> Status {
          RUBATO_RETURN_IF_ERROR(check_chunk(chunk, offset, file.bytes()));
          local = out->append(chunk.data);
          if (!local.ok()) return absl::FailedPreconditionError("[exchange] not written");
          digester.update(chunk.data);
          offset += chunk.bytes();
          return absl::OkStatus();
        }));
        if (offset == file.bytes()) return absl::OkStatus();
        return absl::DataLossError(cat("[exchange] got ", offset, " of ", file.bytes(), " bytes"));
      },
      always);
  RUBATO_RETURN_IF_ERROR(local);
  RUBATO_RETURN_IF_ERROR(annotate(status, file.name()));
  if (digester.hex() != file.digest()) {
    return absl::DataLossError(cat("[exchange] ", file.name(), ": got digest ", digester.hex(),
                                   ", want ", file.digest(),
                                   "; the coordinator's copy changed since it was described"));
  }
  RUBATO_RETURN_IF_ERROR(out->sync());
  RUBATO_RETURN_IF_ERROR(out->close());
  RUBATO_RETURN_IF_ERROR(files.rename(part, path));
  return files.sync_directory(parent_path(path));
}

Status Courier::push_once(const v1::DeltaHeader& header, const Encoding& encoded,
                          const Codec& codec, UpdateVerdict& verdict) {
  v1::PushOffsetRequest request;
  request.set_task(header.task());
  request.set_incarnation(header.incarnation());
  RUBATO_ASSIGN_OR_RETURN(const v1::PushOffsetReply reply, link_.push_offset(request));
  std::string_view bytes;
  if (encoded) bytes = {reinterpret_cast<const char*>(encoded->data()), encoded->size()};
  const int64_t total = std::ssize(bytes);
  // An offset that nobody could have is no reason to read elsewhere.
  int64_t offset = std::clamp<int64_t>(reply.offset(), 0, total);
  LinkPacer* const pacer = environment_.pacer.get();
  RUBATO_ASSIGN_OR_RETURN(const v1::PushReply answer, link_.push(header, [&](Chunk& chunk) {
    if (offset == total) return false;
    // After a cut the first chunk ends where a block does.
    const int64_t step = piece_bytes(pacer, codec.block_bytes(), kChunkBytes);
    const int64_t size = std::min(step - offset % codec.block_bytes(), total - offset);
    chunk =
        make_chunk(offset, total,
                   bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(size)), encoded);
    offset += size;
    if (pacer != nullptr) pacer->wait_for_turn(size);
    return true;
  }));
  RUBATO_ASSIGN_OR_RETURN(verdict, verdict_from_proto(answer));
  return absl::OkStatus();
}

StatusOr<UpdateVerdict> Courier::push(const v1::DeltaHeader& header, const Encoding& encoded,
                                      const Codec& codec, const std::function<bool()>& is_wanted) {
  UpdateVerdict verdict;
  RUBATO_RETURN_IF_ERROR(
      persist([&] { return push_once(header, encoded, codec, verdict); }, is_wanted));
  return verdict;
}

}  // namespace rubato
