// Two network namespaces and a shaped link between them, for one test. Needs root.
#pragma once

#include <string>

namespace rubato {

class NetworkNamespaces {
 public:
  /// `rate` as tc has it, both ways, with a queue of 400 ms.
  explicit NetworkNamespaces(const std::string& rate);
  ~NetworkNamespaces();
  NetworkNamespaces(const NetworkNamespaces&) = delete;
  NetworkNamespaces& operator=(const NetworkNamespaces&) = delete;

  /// Whether this machine permits them.
  bool made() const { return made_; }
  const std::string& coordinator() const { return coordinator_; }
  const std::string& worker() const { return worker_; }
  static constexpr char kCoordinatorHost[] = "10.213.0.1";

 private:
  std::string coordinator_, worker_;
  bool made_;
};

}  // namespace rubato
