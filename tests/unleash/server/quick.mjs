// The server looks for new revisions once a second. A contract of hundreds of changes would wait for that most
// of its time, so its one-second timers run every 50 ms here; what they do stays the server's own.
const interval = globalThis.setInterval;
globalThis.setInterval = (work, milliseconds, ...rest) => interval(work, milliseconds === 1000 ? 50 : milliseconds, ...rest);
