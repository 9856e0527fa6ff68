// The records of a run directory, as they are written: what came behind those read before. So
// whoever watches a run needs nothing of it but its files, and costs the training nothing.
#pragma once

#include <cstdint>
#include <string>

#include "rubato/metrics/record.h"
#include "rubato/store/file_system.h"

namespace rubato {

class RunTail {
 public:
  enum class Found {
    kNothing,    // all that is there was read; later calls may find more
    kRecords,    // maybe not the last
    kRestarted,  // the run was cut back or begun anew: the next call reads from its beginning
  };

  /// `files` outlives the tail. The directory need not hold a run yet.
  RunTail(FileSystem& files, const std::string& run_directory);

  /// Puts the next records into `log` in the order of each file, of at most 256 KiB a file. The
  /// torn last line of a running or killed run is left for later. InvalidArgument for any other
  /// line that is none, or a longer one.
  StatusOr<Found> read(RecordLog& log);

 private:
  struct Stream {
    std::string path;
    int64_t bytes = 0;  // read and understood
    std::string last;   // the end of them, to see that the file is still the same
  };
  StatusOr<Found> read(Stream& stream, RecordLog& log);
  void restart();

  FileSystem& files_;
  Stream metrics_, events_;
};

}  // namespace rubato
