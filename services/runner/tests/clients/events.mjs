// Follows a stream of events with the EventSource that most programs use, over lost connections, until it has seen so
// many. Prints their ids, in the order of their arrival.
//   events.mjs URL COUNT
import * as eventsource from "eventsource";

const EventSource = eventsource.EventSource ?? eventsource.default;
const [url, count] = process.argv.slice(-2);
const seen = [];
const source = new EventSource(url);
source.onmessage = (message) => {
  seen.push(JSON.parse(message.data).id);
  if (seen.length < Number(count)) return;
  console.log(JSON.stringify(seen));
  source.close();
};
source.onerror = () => {
  if (source.readyState !== EventSource.CLOSED) return;
  console.error("the connection was given up");
  process.exit(1);
};
