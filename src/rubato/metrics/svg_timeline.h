// A timeline of tasks: one lane per worker, blocks where it trained, hatching where it waited, and
// thin lines along the lane's edges where parameters came (above) and deltas went (below).
#pragma once

#include <string>
#include <vector>

#include "rubato/metrics/record.h"

namespace rubato {

struct TimelineLane {
  std::string label;
  std::string note;  // written at the right end
  std::vector<TaskSpan> spans;
};

struct Timeline {
  std::string words;  // describes the drawing to those who cannot see it
  std::string title;
  std::string note_title;  // above the notes
  int colour = 0;          // of the training blocks: class c0, c1, ..
  Nanos begin_ns = 0, end_ns = 1;
  std::vector<TimelineLane> lanes;
};

/// The <svg> element; spans are cut to [begin_ns, end_ns]. Needs the page's hatching pattern.
std::string draw_timeline(const Timeline& timeline);

}  // namespace rubato
