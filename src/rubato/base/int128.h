// 128-bit integers, for exact products of 64-bit ones.
#pragma once

namespace rubato {

__extension__ typedef __int128 Int128;

}  // namespace rubato
