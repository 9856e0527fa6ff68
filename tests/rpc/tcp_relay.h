// A TCP relay on loopback between workers and a coordinator: it counts what passes, and cuts.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rubato {

enum class Direction { kUp, kDown };  // from the worker, to the worker

class TcpRelay {
 public:
  /// To 127.0.0.1:`port`.
  explicit TcpRelay(int port);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  std::string address() const;
  /// The next connection that has carried so many bytes that way is cut, once.
  void cut_after(Direction direction, int64_t bytes);
  bool has_cut() const { return cut_at_ < 0; }

  struct Traffic {
    int64_t bytes_up = 0, bytes_down = 0;
    bool open = false;
  };
  /// Of every connection there ever was, the oldest first.
  std::vector<Traffic> traffic() const;

 private:
  struct Connection {
    int worker = -1, coordinator = -1;  // sockets
    std::atomic<int64_t> bytes_up{0}, bytes_down{0};
    std::atomic<bool> open{true};
    std::thread up, down;
  };
  void accept_all();
  void carry(Connection& connection, Direction direction);
  bool is_time_to_cut(Direction direction, int64_t bytes);

  int port_, listener_ = -1, own_port_ = 0;
  std::atomic<Direction> cut_direction_{Direction::kUp};
  std::atomic<int64_t> cut_at_{INT64_MAX};  // [bytes]; -1: done
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::thread thread_;
};

}  // namespace rubato
