// Prints what an event file holds, a JSON line a scalar. `tfrecord` reads the framing and refuses a wrong checksum,
// `protobufjs` the messages, by the part of TensorFlow's event.proto and summary.proto that matters here.
//   node tensorboard_reader.js NODE_MODULES FILE
const [modules, file] = process.argv.slice(2);
const {RecordReader} = require(`${modules}/tfrecord`);
const protobuf = require(`${modules}/protobufjs`);

const {root} = protobuf.parse(`
syntax = "proto3";
message Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
message Summary { message Value { string tag = 1; float simple_value = 2; } repeated Value value = 1; }
`, {keepCase: true});
const Event = root.lookupType('Event');

async function main() {
  const reader = await RecordReader.create(file);
  for (let bytes; (bytes = await reader.readRecord()) !== null;) {
    const event = Event.toObject(Event.decode(bytes), {longs: Number});
    if (event.file_version) console.log(JSON.stringify({version: event.file_version}));
    for (const {tag, simple_value} of event.summary?.value ?? []) {
      console.log(JSON.stringify({time: event.wall_time, step: event.step, tag, value: simple_value}));
    }
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
