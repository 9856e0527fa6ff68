// The state of a live coordinator for Prometheus: its text exposition format, version 0.0.4. Names
// and meanings: docs/operating.md. Source: prometheus.io/docs/instrumenting/exposition_formats.
#pragma once

#include <string>

#include "rubato/v1/admin.pb.h"

namespace rubato {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

std::string metrics_text(const v1::StatusReply& status);

}  // namespace rubato
