// Package api is the local HTTP API of a node and its Go client.
//
// The API is JSON over HTTP on a unix socket (mode 0600: the file mode is the authentication) or on a loopback TCP
// port. /openapi.json describes it. What it keeps to:
//
//   - names are snake_case; 64-bit numbers are decimal strings (Uint64); times are RFC 3339 in UTC (Time); peer ids are
//     whole; lists are {"items":[...],"next_cursor":null} (Page); fields may be added within /v1, never removed;
//   - errors are application/problem+json (Error), their code is a slug of `p2pnode errors`;
//   - streams are server-sent events with a ping every 15 s. A reader that is too slow, or resumes behind a number it
//     saw, is told by the event gap and gets a fresh snapshot;
//   - the body of PUT /v1/state/{key} is the value itself, byte by byte, its Content-Type is kept with it; what else a
//     write needs is in the query (ttl, wait, wait_timeout, topic) and in If-Match and If-None-Match. A key is the rest
//     of the path; one that a URL would clean up (empty, "." or ".." segments) is sent with its slashes as %2F.
//
// Server joins the two sides: it reads a node through the interfaces Node, Topic and Jobs. Client speaks to it.
package api
