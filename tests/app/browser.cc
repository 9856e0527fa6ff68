#include "tests/app/browser.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace rubato {
namespace {

using nlohmann::json;

constexpr int kPatienceMs = 60'000;

std::string from_base64(const std::string& text) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    static const std::string kLetters =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t value = kLetters.find(c);
    if (value == std::string::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

}  // namespace

std::unique_ptr<Browser> Browser::start(const std::string& scratch) {
  const std::string program = "/usr/bin/chromium";
  if (!std::filesystem::exists(program)) return nullptr;
  int to[2], from[2];
  EXPECT_EQ(pipe2(to, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(from, O_CLOEXEC), 0);
  std::vector<std::string> args = {
      program,          "--headless=new",
      "--no-sandbox",  // tests may run as root
      "--disable-gpu",  "--disable-dev-shm-usage", "--hide-scrollbars",
      "--no-first-run", "--remote-debugging-pipe", "--user-data-dir=" + scratch + "/profile"};
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  const std::string log = scratch + "/chromium-log";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  // It reads from 3 and writes to 4; out of the way first, for the pipes may have these numbers.
  posix_spawn_file_actions_adddup2(&actions, to[0], 103);
  posix_spawn_file_actions_adddup2(&actions, from[1], 104);
  posix_spawn_file_actions_adddup2(&actions, 103, 3);
  posix_spawn_file_actions_adddup2(&actions, 104, 4);
  std::unique_ptr<Browser> browser(new Browser());
  EXPECT_EQ(posix_spawn(&browser->pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  browser->to_ = to[1];
  browser->from_ = from[0];
  return browser;
}

Browser::~Browser() {
  close(to_);
  close(from_);
  if (pid_ == 0) return;
  // Deaf and mute it ends by itself, with the processes that it started.
  for (int i = 0; i < 100; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Browser::open(const std::string& url, int width, int height, bool dark) {
  const json target = call("Target.createTarget", {{"url", "about:blank"}});
  session_ =
      call("Target.attachToTarget", {{"targetId", target.value("targetId", "")}, {"flatten", true}})
          .value("sessionId", "");
  for (const char* domain : {"Page.enable", "Runtime.enable", "Log.enable"})
    call(domain, json::object());
  call("Emulation.setDeviceMetricsOverride",
       {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", false}});
  call("Emulation.setEmulatedMedia",
       {{"features", {{{"name", "prefers-color-scheme"}, {"value", dark ? "dark" : "light"}}}}});
  call("Page.navigate", {{"url", url}});
}

json Browser::evaluate(const std::string& expression) {
  const json answer =
      call("Runtime.evaluate",
           {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
  if (answer.contains("exceptionDetails")) return {{"threw", answer["exceptionDetails"]}};
  return answer.value("result", json::object()).value("value", json());
}

bool Browser::wait_for(const std::string& expression) {
  for (int i = 0; i < 200; ++i) {
    if (evaluate(expression) == true) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

std::string Browser::screenshot() {
  return from_base64(call("Page.captureScreenshot", {{"format", "png"}}).value("data", ""));
}

json Browser::call(const std::string& method, json params) {
  json message = {{"id", ++calls_}, {"method", method}, {"params", std::move(params)}};
  if (!session_.empty()) message["sessionId"] = session_;
  const std::string text = message.dump() + '\0';
  EXPECT_EQ(write(to_, text.data(), text.size()), static_cast<ssize_t>(text.size())) << method;
  for (;;) {
    json answer = receive();
    if (answer.is_null()) return json::object();  // said by receive()
    if (answer.value("id", int64_t{0}) == calls_) {
      EXPECT_FALSE(answer.contains("error")) << method << ": " << answer.dump();
      return answer.value("result", json::object());
    }
    note(answer);
  }
}

json Browser::receive() {
  size_t end = 0;
  while ((end = received_.find('\0')) == std::string::npos) {
    pollfd waiting = {from_, POLLIN, 0};
    char part[65536];
    const ssize_t got = poll(&waiting, 1, kPatienceMs) > 0 ? read(from_, part, sizeof part) : 0;
    if (got <= 0) {
      ADD_FAILURE() << "chromium said nothing for " << kPatienceMs << " ms, or ended";
      return nullptr;
    }
    received_.append(part, static_cast<size_t>(got));
  }
  json message = json::parse(received_.substr(0, end), nullptr, false);
  received_.erase(0, end + 1);
  return message;
}

void Browser::note(const json& event) {
  const std::string method = event.value("method", "");
  const json params = event.value("params", json::object());
  if (method == "Runtime.exceptionThrown" || method == "Runtime.consoleAPICalled" ||
      method == "Log.entryAdded")
    complaints_.push_back(params.dump());
}

}  // namespace rubato
