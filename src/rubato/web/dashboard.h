// The dashboard: one page about the runs of a directory, alive while they go. It reads what the
// runs write and nothing else, on a thread of the lowest priority, so that it shows a training in
// this process, one in another and one that is over in the same way.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "rubato/store/file_system.h"
#include "rubato/web/http_server.h"
#include "rubato/web/run_gallery.h"

namespace rubato {

class Dashboard {
 public:
  /// Begins to follow; `files` outlives it and is used by other threads, too.
  Dashboard(FileSystem& files, GalleryConfig config);
  ~Dashboard();
  Dashboard(const Dashboard&) = delete;
  Dashboard& operator=(const Dashboard&) = delete;

  /// The page at `/` and what it asks for, to be served while the dashboard lives.
  HttpPages pages();

 private:
  void follow();

  RunGallery gallery_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rubato
