#include "rubato/app/workload_cache.h"

namespace rubato {

StatusOr<const BuiltWorkload*> WorkloadCache::get(const Recipe& recipe) {
  std::string key;
  for (const auto& [name, value] : recipe.resolved()) {
    for (const std::string_view part :
         {"model.", "toy.", "quadratic.", "data.", "inner.", "train.sequence", "train.lanes",
          "train.recompute", "train.products", "eval.sequences"}) {
      if (name.starts_with(part)) key += cat(name, " = ", to_text(value), "\n");
    }
  }
  const auto it = built_.find(key);
  if (it != built_.end()) return &it->second;
  RUBATO_ASSIGN_OR_RETURN(BuiltWorkload built, build_workload(recipe, threads_));
  return &built_.emplace(key, std::move(built)).first->second;
}

}  // namespace rubato
