// The operator's door: the admin service on a Unix socket in the run directory, and the questions
// that commands on the same machine ask through it. Whoever may open the socket may do everything;
// its mode is 0600.
#pragma once

#include <memory>
#include <string>

#include "rubato/base/ids.h"
#include "rubato/rpc/cluster.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// A listening service; destroyed, it ends and its socket is removed.
class AdminServer {
 public:
  virtual ~AdminServer() = default;
};

/// DIR/control.sock
std::string control_socket_path(const std::string& run_dir);

/// The cluster outlives the server; one that a crash left behind is replaced, so only whoever holds
/// the lock of the run directory calls this, and before other threads make files: the process's
/// umask changes for a moment. InvalidArgument when the path is too long for a socket, Unavailable
/// when it cannot be made.
StatusOr<std::unique_ptr<AdminServer>> listen_admin(const std::string& run_dir, Cluster& cluster);

enum class AdminAction { kStatus, kPause, kResume, kDrain, kEvict };

struct AdminRequest {
  AdminAction action = AdminAction::kStatus;
  WorkerId worker;  // of kEvict
};

/// The state of the live coordinator of `run_dir` after the request. NotFound when there is no such
/// run; Unavailable when no coordinator is running there, DeadlineExceeded when it does not answer
/// within ten seconds.
StatusOr<v1::StatusReply> ask_admin(FileSystem& files, const std::string& run_dir,
                                    const AdminRequest& request);

}  // namespace rubato
