#include "tests/rpc/actors/trap.h"

#include <csignal>

#include <fcntl.h>
#include <unistd.h>

#include "rubato/base/status.h"

namespace rubato {

Trap::Trap(std::string_view fault, const std::string& log)
    : log_(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  RUBATO_CHECK(log_ >= 0, log);
  if (fault.empty()) return;
  const size_t colon = fault.find(':');
  RUBATO_CHECK(colon != std::string_view::npos, fault);
  phase_ = fault.substr(0, colon);
  line_ = phase_ + "\n";
  left_ = std::stoll(std::string(fault.substr(colon + 1)));
}

void Trap::spring() {
  if (!sprung_.exchange(true)) {
    const ssize_t written = ::write(log_, line_.data(), line_.size());
    ::fsync(log_);
    // A line that is not there would look like a phase that was missed.
    if (written == static_cast<ssize_t>(line_.size())) ::kill(::getpid(), SIGKILL);
  }
  for (;;) ::pause();
}

}  // namespace rubato
