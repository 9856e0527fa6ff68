// Must not compile: a version where a shard is wanted.
// expect: could not convert .*VersionTag.* to .*ShardTag|no matching function .*of_shard
#include "rubato/base/ids.h"

namespace rubato {

int64_t of_shard(ShardId shard) { return shard.value(); }
int64_t misuse() { return of_shard(Version(3)); }

}  // namespace rubato
