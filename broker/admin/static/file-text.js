// Puts a chosen file into a field: <input type="file" data-into="ID"> its text; data-bytes="ID" data-size="ID" the
// beginning of its bytes in base64url, and how many it has.
document.addEventListener("change", async ({ target }) => {
  const file = target.files?.[0], { into, bytes, size } = target.dataset ?? {};
  if (!file || !(into || bytes)) return;
  const field = document.getElementById(into ?? bytes);
  if (into) return field.value = await file.slice(0, 1048576).text(); // what a request may hold
  const data = new Uint8Array(await file.slice(0, 700000).arrayBuffer());
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  field.value = btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  document.getElementById(size).value = file.size;
});
