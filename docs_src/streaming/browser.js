function follow(runId, show) {
  const source = new EventSource(`/v1/runs/${runId}/stream`);
  source.onmessage = ({ data }) => {
    if (data === "[DONE]") source.close();
    else show(JSON.parse(data));
  };
}
