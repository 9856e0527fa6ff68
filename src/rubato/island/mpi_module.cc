// The island's link over MPI: the only file that knows it, and a module of its own (mpi_loader.h).
// Waiting costs little: a rank whose message does not come within moments looks for it now and then
// instead of turning in a circle, for between two tasks the other ranks wait for seconds.
#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include "rubato/island/mpi_loader.h"

namespace rubato {
namespace {

constexpr int kTag = 1;
// Looks in a row before a rank takes it that the wait is a long one: about a millisecond.
constexpr int kEagerLooks = 2000;
// Short enough that the buffers of a socket do not run full between two looks.
constexpr std::chrono::microseconds kLookPeriod{50};
// MPI counts in ints.
constexpr size_t kPieceBytes = size_t{64} << 20;

class MpiLink final : public IslandLink {
 public:
  explicit MpiLink(TellFailure tell) : tell_(std::move(tell)) {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_));
    if (size_ < 2)
      fail("got a world of one rank, want what mpirun started; is it another MPI's mpirun?");
  }

  ~MpiLink() override {
    if (std::uncaught_exceptions() > 0) fail("memory or threads ran out");
    MPI_Finalize();
  }
  MpiLink(const MpiLink&) = delete;
  MpiLink& operator=(const MpiLink&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void broadcast(std::span<std::byte> bytes) override {
    in_pieces(bytes, [this](std::span<std::byte> piece, MPI_Request& request) {
      return MPI_Ibcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, 0, MPI_COMM_WORLD,
                        &request);
    });
  }

  void send(int to, std::span<const std::byte> bytes) override {
    in_pieces(bytes, [to](std::span<const std::byte> piece, MPI_Request& request) {
      return MPI_Isend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, to, kTag,
                       MPI_COMM_WORLD, &request);
    });
  }

  void receive(int from, std::span<std::byte> bytes) override {
    in_pieces(bytes, [from](std::span<std::byte> piece, MPI_Request& request) {
      return MPI_Irecv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, from, kTag,
                       MPI_COMM_WORLD, &request);
    });
  }

 private:
  template <class Byte, class Start>
  void in_pieces(std::span<Byte> bytes, Start start) {
    for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      check(start(bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at)), request));
      wait(request);
    }
  }

  void wait(MPI_Request& request) {
    for (int looks = 0;; looks += looks < kEagerLooks) {
      int is_done = 0;
      check(MPI_Test(&request, &is_done, MPI_STATUS_IGNORE));
      if (is_done != 0) return;
      if (looks < kEagerLooks) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(kLookPeriod);
      }
    }
  }

  void check(int code) {
    if (code == MPI_SUCCESS) return;
    char reason[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, reason, &length);
    fail(std::string_view(reason, static_cast<size_t>(length)));
  }

  void fail(std::string_view reason) {
    tell_(cat("[island] rank ", rank_, " of ", size_, ": ", reason, "; the island ends"));
    MPI_Abort(MPI_COMM_WORLD, 1);
  }

  TellFailure tell_;
  int rank_ = 0, size_ = 0;
};

}  // namespace

/// kMpiLinkFactoryName.
extern "C" [[gnu::visibility("default")]] IslandLink* rubato_mpi_link(TellFailure&& tell) {
  return new MpiLink(std::move(tell));
}

}  // namespace rubato
