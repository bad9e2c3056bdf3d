// Requests as the events that an HTTP API of API Gateway (payload format 2.0) hands to a Lambda function, and its answers
// back, to run the function without AWS.

/** What of the event the function reads. */
export type HttpApiEvent = {
  version: "2.0";
  routeKey: "$default";
  rawPath: string;
  rawQueryString: string;
  headers: { [name: string]: string };
  requestContext: {
    accountId: string;
    apiId: string;
    domainName: string;
    stage: "$default";
    requestId: string;
    http: { method: string; path: string; protocol: string; sourceIp: string; userAgent: string };
  };
  body?: string;
  isBase64Encoded: boolean;
};
export type HttpApiResult = {
  statusCode: number;
  headers?: { [name: string]: string };
  body?: string;
  isBase64Encoded?: boolean;
};
export type LambdaHandler = (event: HttpApiEvent, context: object) => Promise<HttpApiResult>;

export async function asEvent(request: Request): Promise<HttpApiEvent> {
  const { hostname, pathname, search } = new URL(request.url);
  const body = Buffer.from(await request.arrayBuffer());
  const headers = Object.fromEntries(request.headers);
  headers["host"] ??= hostname;
  if (body.length > 0) headers["content-length"] ??= String(body.length);
  // As API Gateway does with what it does not know as text.
  const isText = /^(text\/|application\/(json|javascript|xml))/.test(headers["content-type"] ?? "");
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers,
    requestContext: {
      accountId: "000000000000",
      apiId: "local",
      domainName: hostname,
      stage: "$default",
      requestId: crypto.randomUUID(),
      http: { method: request.method, path: pathname, protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "local" },
    },
    ...(body.length > 0 ? { body: body.toString(isText ? "utf8" : "base64") } : {}),
    isBase64Encoded: body.length > 0 && !isText,
  };
}

export function asResponse({ statusCode, headers, body, isBase64Encoded }: HttpApiResult): Response {
  const content = isBase64Encoded ? Buffer.from(body ?? "", "base64") : (body ?? "");
  return new Response(content.length > 0 ? content : null, { status: statusCode, headers: headers ?? {} });
}
