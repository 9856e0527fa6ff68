// A coordinator made from names and options, as a recipe would; shared by scenarios and properties.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "rubato/coordinator/coordinator.h"

namespace rubato {

/// A registered thing by name with its options.
struct Named {
  std::string name;
  std::map<std::string, OptionValue> options = {};
};

struct Rig {
  CoordinatorConfig config;
  Named gate{"free"}, policy{"fixed"}, sampler{"deficit"};

  /// Aborts when a name or option does not exist; the configuration's errors are returned.
  StatusOr<Coordinator> make() const;
  std::unique_ptr<ShardSampler> make_sampler() const;
};

/// The whole state of a coordinator.
StateImage image_of(Coordinator& coordinator);

}  // namespace rubato
