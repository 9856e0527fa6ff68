// Headless Chromium, driven through the pipe that it offers (--remote-debugging-pipe: a JSON object
// a message, a NUL behind each; the DevTools protocol).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/types.h>

namespace rubato {

class Browser {
 public:
  /// nullptr where there is no chromium. `scratch`: a directory for what it writes.
  static std::unique_ptr<Browser> start(const std::string& scratch);
  ~Browser();
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  /// A page of this size, in dark colours or in light ones.
  void open(const std::string& url, int width, int height, bool dark = false);
  /// The value of an expression in the page; a promise is waited for.
  nlohmann::json evaluate(const std::string& expression);
  /// Until the expression is true; false after 20 seconds.
  bool wait_for(const std::string& expression);
  /// PNG of what is to be seen.
  std::string screenshot();
  /// What pages have complained about so far: errors, warnings, what the content policy refused.
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  Browser() = default;
  nlohmann::json call(const std::string& method, nlohmann::json params);
  nlohmann::json receive();
  void note(const nlohmann::json& event);

  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
  std::string session_, received_;
  int64_t calls_ = 0;
  std::vector<std::string> complaints_;
};

}  // namespace rubato
