#include "rubato/web/dashboard.h"

#include <charconv>
#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>
#include <rubato_embedded_page.h>
#include <sys/resource.h>
#include <unistd.h>

namespace rubato {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks{500};

HttpPage json_page(const nlohmann::ordered_json& object) {
  return {.content_type = "application/json; charset=utf-8",
          .body = object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
}

HttpPage nothing_there() { return {.code = 404, .body = "no such run\n"}; }

// Of what does not read as a number: -1, which is no run and no moment.
int64_t number(const HttpQuery& query, const std::string& name) {
  const auto found = query.find(name);
  if (found == query.end()) return -1;
  const std::string& text = found->second;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

std::string type_of(std::string_view name) {
  const std::string_view ending = name.substr(name.rfind('.') + 1);
  return cat("text/", ending == "js" ? "javascript" : ending, "; charset=utf-8");
}

}  // namespace

Dashboard::Dashboard(FileSystem& files, GalleryConfig config)
    : gallery_(files, std::move(config)), thread_([this] { follow(); }) {}

Dashboard::~Dashboard() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Dashboard::follow() {
  // On Linux a thread has a priority of its own. Where it is refused, the dashboard is only less
  // polite.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const bool more = gallery_.look();
    lock.lock();
    if (!more) changed_.wait_for(lock, kBetweenLooks, [&] { return stopping_; });
  }
}

HttpPages Dashboard::pages() {
  HttpPages pages;
  for (const EmbeddedFile& file : kPageFiles) {
    const bool is_first = file.name == "index.html";
    pages[is_first ? "/" : cat("/", file.name)] = [file](const HttpQuery&) {
      return HttpPage{.content_type = type_of(file.name), .body = std::string(file.text)};
    };
  }
  pages["/api/runs"] = [this](const HttpQuery&) { return json_page(gallery_.list()); };
  pages["/api/run"] = [this](const HttpQuery& query) {
    const auto only = query.find("only");
    const auto changes =
        gallery_.changes(number(query, "id"), number(query, "epoch"), number(query, "since"),
                         only != query.end() && only->second == "evals");
    return changes ? json_page(*changes) : nothing_there();
  };
  pages["/api/recipe"] = [this](const HttpQuery& query) {
    const auto text = gallery_.recipe(number(query, "id"));
    return text ? HttpPage{.body = *text} : nothing_there();
  };
  return pages;
}

}  // namespace rubato
